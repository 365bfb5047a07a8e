"""The destination `postgres` against a real server: dispositions, types, atomicity."""

import datetime as dt
import logging
import threading
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from outputs import request_for
from postgres_server import PASSWORD

from headrace.connectors import (
    ConnectorError,
    Loaded,
    Rejected,
    SchemaConflict,
    SchemaFrozen,
    Unauthorized,
)
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.postgres.connector import PostgresDestination


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def types(url: str, table: str = "items") -> dict[str, str]:
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        f" WHERE attrelid = 'public.\"{table}\"'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return dict(rows(url, query))


class Loader:
    """Loads tables into one database, each under a load id of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def __call__(
        self, given: pa.Table | dict[str, Any], disposition: str = "replace", /, **changes: Any
    ) -> Any:
        config = changes.pop("config", {})
        table = given if isinstance(given, pa.Table) else pa.table(given)
        request = request_for(table, self.folder, disposition=disposition, **changes)
        return PostgresDestination(url=self.url, **config).load(request)


@pytest.fixture
def load(postgres_url: str, tmp_path: Path) -> Loader:
    return Loader(postgres_url, tmp_path)


MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - without a zone on purpose
MOMENT_TEXT = "2024-01-02 03:04:05.678901"
ARRIVALS = [
    (pa.array([True, None]), "boolean", ["true", None]),
    (pa.array([-128, None], pa.int8()), "smallint", ["-128", None]),
    (pa.array([65535, None], pa.uint16()), "integer", ["65535", None]),
    (pa.array([2**32 - 1, None], pa.uint32()), "bigint", ["4294967295", None]),
    (pa.array([-(2**63), None], pa.int64()), "bigint", ["-9223372036854775808", None]),
    (pa.array([2**64 - 1, None], pa.uint64()), "numeric(20,0)", ["18446744073709551615", None]),
    (pa.array([1.5, None], pa.float16()), "real", ["1.5", None]),
    (pa.array([0.1, float("nan")], pa.float32()), "real", ["0.1", "NaN"]),
    (pa.array([0.1, float("-inf")]), "double precision", ["0.1", "-Infinity"]),
    (pa.array([Decimal("-1.50"), None], pa.decimal128(38, 9)), "numeric(38,9)", ["-1.500000000", None]),
    (pa.array([Decimal("-1.50"), None], pa.decimal64(18, 2)), "numeric(18,2)", ["-1.50", None]),
    (pa.array([Decimal("9.9"), None], pa.decimal32(2, 1)), "numeric(2,1)", ["9.9", None]),
    (pa.array([Decimal("0.0001"), None], pa.decimal128(4, 4)), "numeric(4,4)", ["0.0001", None]),
    (pa.array([Decimal("9" * 40 + ".5"), None], pa.decimal256(50, 2)), "numeric(50,2)",
     ["9" * 40 + ".50", None]),
    (pa.array(["ü😀\n\\N", ""]), "text", ["ü😀\n\\N", ""]),
    (pa.array(["a", None], pa.large_string()), "text", ["a", None]),
    (pa.array(["a", None]).dictionary_encode(), "text", ["a", None]),
    (pa.array([b"\x00\xff", None]), "bytea", ["\\x00ff", None]),
    (pa.array([b"ab", None], pa.binary(2)), "bytea", ["\\x6162", None]),
    (pa.array([dt.date(1600, 1, 1), None]), "date", ["1600-01-01", None]),
    (pa.array([dt.date(2024, 1, 1), None], pa.date64()), "date", ["2024-01-01", None]),
    (pa.array([dt.time(23, 59, 59, 1), None]), "time without time zone", ["23:59:59.000001", None]),
    (pa.array([dt.time(1, 2, 3), None], pa.time32("ms")), "time without time zone", ["01:02:03", None]),
    (pa.array([MOMENT, None], pa.timestamp("us")), "timestamp without time zone", [MOMENT_TEXT, None]),
    (pa.array([MOMENT, None], pa.timestamp("ns")), "timestamp without time zone", [MOMENT_TEXT, None]),
    (pa.array([MOMENT, None], pa.timestamp("us", "Asia/Tokyo")), "timestamp with time zone",
     [f"{MOMENT_TEXT}+00", None]),
    (pa.array([dt.timedelta(days=1, microseconds=5), None]), "interval", ["24:00:00.000005", None]),
    (pa.nulls(2), "text", [None, None]),
    (pa.array([[1, None], []]), "bigint[]", ["{1,NULL}", "{}"]),
    (pa.array([["a,b", ""], None]), "text[]", ['{"a,b",""}', None]),
    (pa.array([[1.5], None], pa.list_(pa.float32())), "real[]", ["{1.5}", None]),
    (pa.array([[1, 2], None], pa.list_(pa.int16(), 2)), "smallint[]", ["{1,2}", None]),
    (pa.array([{"a": Decimal("1.10"), "b": [dt.date(2024, 1, 1)]}, None]), "jsonb",
     ['{"a": 1.10, "b": ["2024-01-01"]}', None]),
    (pa.array([[{"x": 1}], None]), "jsonb", ['[{"x": 1}]', None]),
    (pa.array([[[1], [2, 3]], None]), "jsonb", ["[[1], [2, 3]]", None]),
    (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), "jsonb", ['{"k": 1}', None]),
    (pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()), "uuid", [str(uuid.UUID(int=5)), None]),
    (pa.array(['{"b":1.10}', None], pa.json_()), "jsonb", ['{"b": 1.10}', None]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("array", "declared", "texts"), ARRIVALS, ids=[str(case[0].type) for case in ARRIVALS]
)
def test_each_arrow_type_arrives_exactly(
    load: Loader, array: pa.Array, declared: str, texts: list[str | None]
) -> None:
    load(pa.table({"v": array, "n": [1, 2]}))

    assert types(load.url)["v"] == declared
    assert [value for (value,) in rows(load.url, "SELECT v::text FROM items ORDER BY n")] == texts


def test_replace_publishes_the_new_rows_and_columns_alone(load: Loader) -> None:
    load({"a": [1, 2]})

    result = load({"b": ["x"]})

    assert rows(load.url, "SELECT * FROM items") == [("x",)]
    assert types(load.url) == {"b": "text"}
    assert result.rows == 1
    assert result.location.startswith("postgres: test_")
    assert result.location.endswith(".public.items")


def test_an_empty_result_is_published_as_empty(load: Loader) -> None:
    load({"a": [1, 2]})

    load(pa.table({"a": pa.array([], pa.int64())}))

    assert rows(load.url, "SELECT * FROM items") == []


def test_a_result_without_columns_empties_the_table_and_keeps_its_columns(load: Loader) -> None:
    load({"a": [1, 2]})

    load(pa.table({}))

    assert rows(load.url, "SELECT count(*) FROM items") == [(0,)]
    assert types(load.url) == {"a": "bigint"}


def test_append_adds_to_what_is_there(load: Loader) -> None:
    load({"a": [1]}, "append")
    load({"a": [2]}, "append")

    assert rows(load.url, "SELECT a FROM items ORDER BY a") == [(1,), (2,)]


def test_merge_updates_by_key_and_the_later_row_of_one_output_wins(load: Loader) -> None:
    key = {"primary_key": ("id",)}
    load({"id": [1, 2], "v": ["a", "b"]}, "merge", **key)

    load({"id": [2, 3, 2], "v": ["c", "d", "e"]}, "merge", **key)

    assert rows(load.url, "SELECT * FROM items ORDER BY id") == [(1, "a"), (2, "e"), (3, "d")]


def test_merge_on_several_columns_leaves_columns_that_are_not_brought(load: Loader) -> None:
    run_sql(
        load.url,
        "CREATE TABLE items (b text, a bigint, v text, own text DEFAULT 'mine', UNIQUE (a, b))",
        "INSERT INTO items VALUES ('x', 1, 'old', 'kept')",
    )

    load({"a": [1, 1], "b": ["x", "y"], "v": ["new", "newer"]}, "merge", primary_key=("a", "b"), adopt=True)

    assert rows(load.url, "SELECT * FROM items ORDER BY b") == [
        ("x", 1, "new", "kept"), ("y", 1, "newer", "mine"),
    ]  # fmt: skip


def test_merge_of_key_columns_alone_keeps_each_once(load: Loader) -> None:
    load({"id": [1, 1]}, "merge", primary_key=("id",))
    load({"id": [1, 2]}, "merge", primary_key=("id",))

    assert rows(load.url, "SELECT id FROM items ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"id": [1]}, (), "the stream has none"),
        ({"id": [1]}, ("nope",), "no column 'nope'"),
        ({"id": pa.array([None], pa.int64())}, ("id",), "null value in column"),
    ],
)
def test_a_merge_without_a_usable_key_is_refused(
    load: Loader, table: dict[str, Any], key: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Rejected, match=message):
        load(table, "merge", primary_key=key)


def test_new_columns_are_added_and_missing_ones_become_null(load: Loader) -> None:
    load({"a": [1], "b": ["x"]}, "append")

    load({"c": [1.5], "a": [2]}, "append")

    assert rows(load.url, "SELECT a, b, c FROM items ORDER BY a") == [(1, "x", None), (2, None, 1.5)]


WIDENED = [
    ("smallint", pa.array([2**40]), "bigint", ["1", "1099511627776"]),
    ("integer", pa.array([7]), "integer", ["1", "7"]),
    ("integer", pa.array([2**40]), "bigint", ["1", "1099511627776"]),
    ("integer", pa.array([1.5]), "double precision", ["1", "1.5"]),
    ("bigint", pa.array([1.5]), "double precision", ["1", "1.5"]),
    ("real", pa.array([0.1]), "double precision", ["1", "0.1"]),
    ("double precision", pa.array([2**53]), "double precision", ["1", "9.007199254740992e+15"]),
    ("numeric", pa.array([0.1]), "numeric", ["1", "0.1"]),
    ("numeric(5,2)", pa.array([Decimal("0.12345")]), "numeric(8,5)", ["1.00000", "0.12345"]),
    ("numeric(5,2)", pa.array([2**62]), "numeric(21,2)", ["1.00", f"{2**62}.00"]),
    ("bigint", pa.array([Decimal("0.5")]), "numeric(20,1)", ["1.0", "0.5"]),
    ("bigint", pa.array([2**64 - 1], pa.uint64()), "numeric(20,0)", ["1", str(2**64 - 1)]),
    ("text", pa.array([7]), "text", ["1", "7"]),
    ("text", pa.array([{"x": 1}]), "text", ["1", '{"x":1}']),
    ("text", pa.array([b"x"]), "text", ["1", "eA=="]),
    ("jsonb", pa.array([7.5]), "jsonb", ["1", "7.5"]),
    ("jsonb", pa.array(['{"x":1}']), "jsonb", ["1", '{"x": 1}']),
    ("character varying(3)", pa.array(["abc"]), "character varying(3)", ["1", "abc"]),
    ("character varying(3)", pa.array(["abcd"]), "character varying", ["1", "abcd"]),
    ("bigint", pa.nulls(1), "bigint", ["1", None]),
    ("bigint", pa.array([None], pa.string()), "bigint", ["1", None]),
    ("bigint", pa.array(["007"]), "text", ["1", "007"]),
    ("numeric(5,2)", pa.array(["n/a"]), "text", ["1.00", "n/a"]),
    ("double precision", pa.array(["1.10"]), "text", ["1", "1.10"]),
    ("boolean", pa.array(["maybe"]), "text", ["true", "maybe"]),
]


@pytest.mark.parametrize(("held", "array", "declared", "texts"), WIDENED)
def test_a_column_takes_what_fits_and_is_widened_for_the_rest(
    load: Loader, held: str, array: pa.Array, declared: str, texts: list[str | None]
) -> None:
    run_sql(load.url, f"CREATE TABLE items (v {held}, n serial)", "INSERT INTO items VALUES ('1')")

    load(pa.table({"v": array}), "append", adopt=True)

    assert types(load.url)["v"] == declared
    assert [value for (value,) in rows(load.url, "SELECT v::text FROM items ORDER BY n")] == texts


LOST = [
    ("double precision", pa.array([2**53 + 1])),
    ("real", pa.array([2**24 + 1])),
    ("timestamp with time zone", pa.array([1])),
    ("timestamp with time zone", pa.array([MOMENT], pa.timestamp("us"))),
    ("timestamp without time zone", pa.array([MOMENT], pa.timestamp("us", "UTC"))),
    ("bigint", pa.array([True])),
    ("boolean", pa.array([1])),
    ("numeric(5,2)", pa.array([0.125])),
    ("double precision", pa.array([Decimal("0.12345678901234567890")])),
    ("character(3)", pa.array(["abcd"])),
    ("bytea", pa.array(["x"])),
    ("integer[]", pa.array([[1.5]])),
]


@pytest.mark.parametrize(("held", "array"), LOST)
def test_what_would_lose_a_value_is_refused_and_changes_nothing(
    load: Loader, held: str, array: pa.Array
) -> None:
    run_sql(load.url, f"CREATE TABLE items (v {held}, n int)", "INSERT INTO items VALUES (NULL, 1)")

    with pytest.raises(SchemaConflict, match="Column 'v'"):
        load(pa.table({"v": array, "new": [1]}), "append", adopt=True)

    assert types(load.url) == {"v": held, "n": "integer"}
    assert rows(load.url, "SELECT * FROM items") == [(None, 1)]


def test_an_int64_into_a_float8_column_is_cast_and_not_reinterpreted(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (v float8)")

    load({"v": [1]}, "append", adopt=True)

    assert rows(load.url, "SELECT v FROM items") == [(1.0,)]


def test_a_double_into_a_bigint_column_that_holds_large_integers_is_refused_by_name(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (v bigint)", f"INSERT INTO items VALUES ({2**53 + 1})")

    with pytest.raises(Rejected, match="Column 'v' is bigint, and the data, double precision"):
        load({"v": [1.5]}, "append", adopt=True)


def test_a_column_that_a_view_holds_at_its_type_is_named(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (v int)", "CREATE VIEW seen AS SELECT v FROM items")

    with pytest.raises(SchemaConflict, match="Column 'v' cannot become bigint: a view"):
        load({"v": [2**40]}, "append", adopt=True)


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
@pytest.mark.parametrize(
    ("given", "column"),
    [({"id": [2], "w": [1]}, "w"), ({"id": [2**40]}, "id"), ({"id": [2], "v": ["abcd"]}, "v")],
)
def test_a_frozen_table_keeps_its_columns_and_types(
    load: Loader, disposition: str, given: dict[str, Any], column: str
) -> None:
    run_sql(load.url, "CREATE TABLE items (id int, v varchar(3))", "INSERT INTO items VALUES (1, 'abc')")

    with pytest.raises(SchemaFrozen, match=f"Column '{column}'") as refused:
        load(given, disposition, primary_key=("id",), schema_contract="freeze", adopt=True)

    assert refused.value.code == "destination.schema_frozen"
    assert types(load.url) == {"id": "integer", "v": "character varying(3)"}
    assert rows(load.url, "SELECT * FROM items") == [(1, "abc")]


def test_a_frozen_table_is_refilled_where_it_is(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (id int, v varchar(3))", "INSERT INTO items VALUES (1, 'abc')")
    before = rows(load.url, "SELECT 'items'::regclass::oid")

    load({"id": [7]}, "replace", schema_contract="freeze", adopt=True)

    assert rows(load.url, "SELECT * FROM items") == [(7, None)]
    assert types(load.url) == {"id": "integer", "v": "character varying(3)"}
    assert rows(load.url, "SELECT 'items'::regclass::oid") == before


def test_a_computed_column_is_refused_by_name(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (a int, b int GENERATED ALWAYS AS (a * 2) STORED)")

    with pytest.raises(Rejected, match="'b' is computed"):
        load({"a": [1], "b": [2]}, "append", adopt=True)


def test_nul_characters_are_left_out_counted_and_logged(
    load: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"t": ["a\0b\0", "c"], "l": [["\0x"], None], "j": [{"k": "y\0", "s": "\\u0000"}, None]}

    with caplog.at_level(logging.WARNING, "headrace.connector"):
        load(table)

    assert rows(load.url, "SELECT t, l, j FROM items WHERE l IS NOT NULL") == [
        ("ab", ["x"], {"k": "y", "s": "\\u0000"})
    ]
    told = [record.args for record in caplog.records]
    assert [(detail.split("'")[1], count) for detail, count in told] == [("t", 2), ("l", 1), ("j", 1)]


@pytest.mark.parametrize(
    "name", ['we"ird', "Größe", "UPPER", "with space", "select", "it's", "a.b", "%s$1", "{}", "x" * 63]
)
def test_any_identifier_is_created_as_it_is_written(load: Loader, name: str) -> None:
    config = {"schema": name, "table": name}

    for disposition in ("append", "replace", "merge"):
        load({name: [1]}, disposition, primary_key=(name,), config=config)

    sql = '"' + name.replace('"', '""') + '"'
    assert rows(load.url, f"SELECT {sql} FROM {sql}.{sql}") == [(1,)]


@pytest.mark.parametrize(
    ("table", "config"),
    [
        ({"x" * 64: [1]}, {}),
        ({"ü" * 32: [1]}, {}),
        ({"a": [1]}, {"table": "x" * 64}),
        ({"a": [1]}, {"table": "x" * 60, "table_prefix": "long"}),
        ({"a": [1]}, {"schema": "x" * 64}),
    ],
)
def test_a_name_over_63_bytes_is_refused_rather_than_cut(
    load: Loader, table: dict[str, Any], config: dict[str, str]
) -> None:
    with pytest.raises(Rejected, match=r"has 6\d bytes; PostgreSQL keeps 63"):
        load(table, config=config)


def test_the_prefix_goes_before_the_table(load: Loader) -> None:
    load({"a": [1]}, config={"table_prefix": "raw_"})

    assert rows(load.url, "SELECT a FROM raw_items") == [(1,)]


def test_a_view_in_the_place_of_the_table_is_refused(load: Loader) -> None:
    run_sql(load.url, "CREATE VIEW items AS SELECT 1 AS a")

    with pytest.raises(Rejected, match="is not a table"):
        load({"a": [1]}, adopt=True)


class Stop(Exception):
    """What the engine raises when the run is no longer this worker's."""


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
@pytest.mark.parametrize("hook", ["before_commit", "progress"])
def test_a_load_that_is_stopped_leaves_the_destination_as_it_was(
    load: Loader, disposition: str, hook: str
) -> None:
    load({"id": [1], "v": ["old"]}, "merge", primary_key=("id",), cursor=1)
    load({"id": [1], "v": ["old"]}, table="plain", pipeline_id="plain", cursor=1)
    before = rows(load.url, "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    def stop(*_: object) -> None:
        raise Stop

    for table, pipeline_id in (("items", "pipeline-1"), ("plain", "plain")):
        with pytest.raises(Stop):
            load(
                {"id": [2], "w": ["new"]},
                disposition,
                table=table,
                pipeline_id=pipeline_id,
                primary_key=("id",),
                cursor=2,
                **{hook: stop},
            )

    assert rows(load.url, "SELECT * FROM items UNION ALL SELECT * FROM plain") == [(1, "old"), (1, "old")]
    assert (
        rows(load.url, "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        == before
    )
    assert rows(load.url, "SELECT cursor FROM _headrace_loads") == [("1",), ("1",)]


def test_a_killed_session_leaves_the_destination_as_it_was(load: Loader) -> None:
    load({"a": [1]})

    def kill() -> None:
        run_sql(
            load.url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'headrace%'",
        )

    with pytest.raises(ConnectorError) as caught:
        load({"a": [2]}, before_commit=kill)

    assert caught.value.temporary
    assert rows(load.url, "SELECT a FROM items") == [(1,)]


def test_the_load_and_its_cursor_are_noted_with_the_data(load: Loader) -> None:
    destination = PostgresDestination(url=load.url)

    before = destination.last_load("pipeline-1")
    load({"a": [1]}, load_id="run-1", cursor={"at": "2024"})
    load({"a": [1]}, load_id="run-2", cursor=None, pipeline_id="pipeline-2", table="others")

    assert before is None
    assert destination.last_load("pipeline-1") == Loaded(
        load_id="run-1", cursor={"at": "2024"}, table="items"
    )
    assert destination.last_load("pipeline-2") == Loaded(load_id="run-2", cursor=None, table="others")


def test_a_load_that_was_committed_is_not_done_twice(load: Loader) -> None:
    load({"a": [1]}, "append", load_id="run-1")
    load({"a": [1]}, "append", load_id="run-1")

    assert rows(load.url, "SELECT a FROM items") == [(1,)]


def test_readers_see_all_of_a_replacement_or_none(load: Loader) -> None:
    size = 20_000
    load({"a": [0] * size})
    seen: set[tuple[int, int, int]] = set()
    done = threading.Event()

    def watch() -> None:
        with psycopg.connect(load.url, autocommit=True) as connection:
            while not done.is_set():
                found = connection.execute("SELECT count(*), min(a), max(a) FROM items").fetchone()
                assert found is not None
                seen.add(found)

    reader = threading.Thread(target=watch)
    reader.start()
    for generation in range(1, 6):
        load({"a": [generation] * size})
    run_sql(load.url, "CREATE INDEX ON items (a)")  # from here on it is refilled in place
    for generation in range(6, 9):
        load({"a": [generation] * size})
    done.set()
    reader.join()

    assert len(seen) > 2
    assert {(size, low, low) for _, low, _ in seen} == seen


def test_a_swap_keeps_grants_and_gives_no_others(load: Loader) -> None:
    run_sql(
        load.url,
        'DROP ROLE IF EXISTS "an Analyst"',
        'CREATE ROLE "an Analyst"',
        'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO "an Analyst"',
    )
    load({"a": [1]})
    run_sql(load.url, 'REVOKE ALL ON items FROM "an Analyst"', "GRANT SELECT ON items TO PUBLIC")
    run_sql(load.url, 'GRANT INSERT ON items TO "an Analyst" WITH GRANT OPTION')
    before = rows(load.url, "SELECT oid, relacl::text FROM pg_class WHERE relname = 'items'")

    load({"b": [1]})

    after = rows(load.url, "SELECT oid, relacl::text FROM pg_class WHERE relname = 'items'")
    run_sql(load.url, 'DROP OWNED BY "an Analyst"', 'DROP ROLE "an Analyst"')
    assert after[0][0] != before[0][0]
    assert set(after[0][1].strip("{}").split(",")) == set(before[0][1].strip("{}").split(","))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW hanging AS SELECT a FROM items",
        "CREATE INDEX hanging ON items (a)",
        "ALTER TABLE items ADD CHECK (a > 0)",
        "ALTER TABLE items ADD COLUMN own text DEFAULT 'x'",
        "COMMENT ON COLUMN items.a IS 'known'",
        "ALTER TABLE items ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY",
        "CREATE FUNCTION hanging() RETURNS SETOF items LANGUAGE sql AS 'SELECT * FROM items'",
    ],
)
def test_a_table_that_something_hangs_on_is_refilled_where_it_is(load: Loader, statement: str) -> None:
    load({"a": [1]})
    run_sql(load.url, statement)
    before = rows(load.url, "SELECT oid FROM pg_class WHERE relname = 'items'")

    load({"a": [2, 3]})

    assert rows(load.url, "SELECT a FROM items ORDER BY a") == [(2,), (3,)]
    assert rows(load.url, "SELECT oid FROM pg_class WHERE relname = 'items'") == before


def test_a_table_that_stays_locked_is_a_temporary_failure(load: Loader) -> None:
    load({"a": [1]})

    with psycopg.connect(load.url) as reader:
        reader.execute("SELECT * FROM items")
        with pytest.raises(Busy) as caught:
            load({"a": [2]}, config={"limits": {"lock_timeout": 0.05}})

    assert caught.value.temporary
    assert rows(load.url, "SELECT a FROM items") == [(1,)]


def test_the_servers_detail_with_values_of_the_row_is_left_out(load: Loader) -> None:
    run_sql(load.url, "CREATE TABLE items (id int UNIQUE, secret text)")

    with pytest.raises(Rejected) as caught:
        load({"id": [4711, 4711], "secret": ["s3cret", "s3cret"]}, "append", adopt=True)

    assert "duplicate key value violates unique constraint" in caught.value.detail
    assert "4711" not in repr(caught.value)


def test_rights_that_are_missing_are_unauthorized(load: Loader) -> None:
    run_sql(load.url, "DROP ROLE IF EXISTS writer", f"CREATE ROLE writer LOGIN PASSWORD '{PASSWORD}'")
    stranger = Loader(load.url.replace("//postgres:", "//writer:"), load.folder)

    with pytest.raises(Unauthorized):
        PostgresDestination(url=stranger.url).check()
    with pytest.raises(Unauthorized, match="permission denied"):
        stranger({"a": [1]})


def test_check_says_that_the_schema_can_be_written_to(load: Loader) -> None:
    assert PostgresDestination(url=load.url, schema="new").check().endswith("schema 'new' can be written to.")


def test_a_lock_that_is_waited_for_in_vain_names_the_run_that_holds_it(load: Loader) -> None:
    def other() -> None:
        load({"id": [2]}, config={"limits": {"lock_timeout": 0.2}}, pipeline_id="pipeline-2")

    with pytest.raises(
        Busy, match=r"items.* held by headrace run the-first fence 7 \(process \d+, user postgres"
    ):
        load({"id": [1]}, before_commit=other, load_id="the-first", fence=7)


def test_the_server_ends_the_session_of_a_load_whose_worker_is_gone(load: Loader) -> None:
    load({"id": [1]}, "append")
    names = ("idle_in_transaction_session_timeout", "tcp_keepalives_idle", "client_connection_check_interval")
    told = ", ".join(f"current_setting('{name}')" for name in (*names, "application_name"))
    run_sql(
        load.url,
        "CREATE TABLE told (settings text[])",
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN INSERT INTO told VALUES (ARRAY[{told}]); RETURN NEW; END $$",
        "CREATE TRIGGER tell BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION tell()",
    )

    load({"id": [2]}, "append", load_id="the-second", fence=2)

    assert rows(load.url, "SELECT settings FROM told") == [
        (["5min", "30", "10s", "headrace run the-second fence 2"],)
    ]
