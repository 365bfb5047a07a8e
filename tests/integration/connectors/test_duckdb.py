"""DuckDB files as source and destination: exact values, dispositions, one transaction."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from incremental import Read
from outputs import request_for

from headrace.connectors import (
    Checkpoint,
    Loaded,
    ReadRequest,
    Rejected,
    SchemaConflict,
    Unreachable,
    Unreadable,
)
from headrace.connectors.duckdb.connector import DuckDBDestination, DuckDBSource
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.postgres.projection import TYPE_KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def load(path: Path, tmp_path: Path) -> Any:
    outputs = tmp_path / "outputs"
    outputs.mkdir()

    def load(given: pa.Table | dict[str, Any], disposition: str = "replace", /, **changes: Any) -> Any:
        config = changes.pop("config", {})
        table = given if isinstance(given, pa.Table) else pa.table(given)
        request = request_for(table, outputs, disposition=disposition, **changes)
        return DuckDBDestination(path=str(path), **config).load(request)

    return load


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path)) as connection:
        return connection.execute(query).fetchall()


def read(path: Path, stream: str, **changes: Any) -> tuple[pa.Table, list[Any]]:
    items = list(DuckDBSource(path=str(path)).read(ReadRequest(stream=stream, **changes)))
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    return pa.Table.from_batches(batches), [item.cursor for item in items if isinstance(item, Checkpoint)]


ARRIVALS = [
    (pa.array([2**64 - 1], pa.uint64()), "UBIGINT", "18446744073709551615"),
    (pa.array([Decimal("-1.50")], pa.decimal64(18, 2)), "DECIMAL(18,2)", "-1.50"),
    (pa.array([Decimal("1.5")], pa.decimal128(38, 9)), "DECIMAL(38,9)", "1.500000000"),
    (pa.array(["a\0b"]), "VARCHAR", "a\0b"),
    (pa.array([dt.timedelta(days=1, microseconds=5)]), "INTERVAL", "24:00:00.000005"),
    (pa.nulls(1), "VARCHAR", None),
    (pa.array([1], pa.timestamp("us", "UTC")), "TIMESTAMP WITH TIME ZONE", "1970-01-01 00:00:00.000001+00"),
    (pa.array([{"x": [1, None]}]), "STRUCT(x BIGINT[])", "{'x': [1, NULL]}"),
    (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())), "MAP(VARCHAR, INTEGER)", "{k=1}"),
]


@pytest.mark.parametrize(
    ("array", "declared", "text"), ARRIVALS, ids=[str(case[0].type) for case in ARRIVALS]
)
def test_each_arrow_type_arrives_exactly(
    path: Path, load: Any, array: pa.Array, declared: str, text: str
) -> None:
    load(pa.table({"v": array}))

    assert rows(path, "SELECT data_type FROM duckdb_columns() WHERE table_name = 'items'") == [(declared,)]
    assert rows(path, "SELECT v::VARCHAR FROM items") == [(text,)]


def test_types_that_came_from_postgres_as_text_are_restored_where_duckdb_has_them(
    path: Path, load: Any
) -> None:
    text = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    schema = pa.schema([pa.field("u", pa.string(), metadata={TYPE_KEY: b"uuid"}),
                        pa.field("j", pa.string(), metadata={TYPE_KEY: b"jsonb"})])  # fmt: skip

    load(pa.table({"u": [text], "j": ['{"a":1}']}, schema=schema))

    assert rows(path, "SELECT typeof(u), u::VARCHAR, typeof(j), j->>'a' FROM items") == [
        ("UUID", text, "JSON", "1")
    ]


def test_more_digits_than_duckdb_holds_are_refused_by_name(load: Any) -> None:
    with pytest.raises(Rejected, match="'v'"):
        load({"v": pa.array([Decimal("9" * 40)], pa.decimal256(50, 0))})


def test_replace_append_and_merge(path: Path, load: Any) -> None:
    load({"id": [9], "gone": [1]})
    result = load({"id": [1, 2], "v": ["a", "b"]})
    load({"id": [3], "w": [1.5]}, "append")
    load({"v": ["d", "c", "e"], "id": [4, 2, 4]}, "merge", primary_key=("id",))

    assert rows(path, "SELECT id, v, w FROM items ORDER BY id") == [
        (1, "a", None), (2, "c", None), (3, None, 1.5), (4, "e", None),
    ]  # fmt: skip
    assert (result.rows, result.location) == (2, f"duckdb: {path}: main.items")


def test_an_empty_result_is_published_as_empty_and_one_without_columns_keeps_the_columns(
    path: Path, load: Any
) -> None:
    load({"a": [1]})
    load(pa.table({"b": pa.array([], pa.int32())}))
    empty = rows(path, "SELECT column_name FROM duckdb_columns() WHERE table_name = 'items'")
    load({"a": [1]})
    load(pa.table({}))

    assert empty == [("b",)]
    assert rows(path, "SELECT count(*), count(a) FROM items") == [(0, 0)]


@pytest.mark.parametrize(
    ("held", "array", "declared"),
    [
        ("INTEGER", pa.array([2**40]), "BIGINT"),
        ("INTEGER", pa.array([7]), "INTEGER"),
        ("BIGINT", pa.array([1.5]), "DOUBLE"),
        ("DOUBLE", pa.array([2**53]), "DOUBLE"),
        ("VARCHAR", pa.array([7]), "VARCHAR"),
        ("STRUCT(a BIGINT)", pa.array([{"a": 1, "b": "x"}]), "STRUCT(a BIGINT, b VARCHAR)"),
        ("DATE", pa.array([1], pa.timestamp("us")), "TIMESTAMP"),
        ("BIGINT", pa.array(["007"]), "VARCHAR"),
        ("TIMESTAMP WITH TIME ZONE", pa.array(["soon"]), "VARCHAR"),
    ],
)
def test_a_column_takes_what_fits_and_is_widened_for_the_rest(
    path: Path, load: Any, held: str, array: pa.Array, declared: str
) -> None:
    rows(path, f"CREATE TABLE items (v {held}); INSERT INTO items VALUES (NULL)")

    load(pa.table({"v": array}), "append", adopt=True)

    assert rows(path, "SELECT data_type FROM duckdb_columns() WHERE table_name = 'items'") == [(declared,)]
    assert rows(path, "SELECT count(v) FROM items") == [(1,)]


@pytest.mark.parametrize(
    ("held", "array"),
    [
        ("DOUBLE", pa.array([2**53 + 1])),
        ("BLOB", pa.array(["x"])),
        ("BIGINT", pa.array([True])),
        ("BOOLEAN", pa.array([1])),
        ("TIMESTAMPTZ", pa.array([1], pa.timestamp("us"))),
    ],
)
def test_what_would_lose_a_value_is_refused_by_name_and_changes_nothing(
    path: Path, load: Any, held: str, array: pa.Array
) -> None:
    rows(path, f"CREATE TABLE items (v {held}); INSERT INTO items VALUES (NULL)")

    with pytest.raises(Rejected, match="Column 'v'"):
        load(pa.table({"new": [1], "v": array}), "append", adopt=True)

    assert rows(path, "SELECT * FROM items") == [(None,)]


@pytest.mark.parametrize(
    ("held", "value", "array", "declared"),
    [
        ("DECIMAL(21,4)", "12345678901234567.1234", pa.array([Decimal("0.123456")]), "DECIMAL(23,6)"),
        ("BIGINT", "1234567890123456789", pa.array([Decimal("0.25")]), "DECIMAL(21,2)"),
        ("DECIMAL(3,2)", "1.25", pa.array([2**62]), "DECIMAL(21,2)"),
        ("SMALLINT", "-1", pa.array([2**64 - 1], pa.uint64()), "DECIMAL(20,0)"),
    ],
)
def test_numbers_that_neither_type_holds_widen_the_column_to_the_digits_of_both(
    path: Path, load: Any, held: str, value: str, array: pa.Array, declared: str
) -> None:
    rows(path, f"CREATE TABLE items (v {held}); INSERT INTO items VALUES ({value})")

    load(pa.table({"v": array}), "append", adopt=True)

    assert rows(path, "SELECT data_type FROM duckdb_columns() WHERE table_name = 'items'") == [(declared,)]
    assert [row[0] for row in rows(path, "SELECT v FROM items")] == [Decimal(value), array[0].as_py()]


def test_objects_and_lists_are_json_in_a_column_of_text(path: Path, load: Any) -> None:
    rows(path, "CREATE TABLE items (v VARCHAR, w VARCHAR)")

    load({"v": [{"t": "NULL", "n": None}, None], "w": [["a'b", None], []]}, "append", adopt=True)

    assert rows(path, "SELECT v, w FROM items") == [('{"t":"NULL","n":null}', '["a\'b",null]'), (None, "[]")]


def test_digits_beyond_what_the_widest_decimal_has_are_refused(path: Path, load: Any) -> None:
    rows(path, "CREATE TABLE items (v DECIMAL(38,0)); INSERT INTO items VALUES (1)")

    with pytest.raises(SchemaConflict, match="Column 'v'"):
        load({"v": [Decimal("0." + "1" * 38)]}, "append", adopt=True)


def test_a_column_without_values_leaves_the_type_alone(path: Path, load: Any) -> None:
    rows(path, "CREATE TABLE items (v BIGINT)")

    load({"v": pa.nulls(1)}, "append", adopt=True)

    assert rows(path, "SELECT typeof(v) FROM items") == [("BIGINT",)]


def test_a_column_that_an_index_holds_at_its_type_is_named(path: Path, load: Any) -> None:
    rows(path, "CREATE TABLE items (v INTEGER); CREATE INDEX i ON items (v)")

    with pytest.raises(SchemaConflict, match="Column 'v' cannot become BIGINT"):
        load({"v": [2**40]}, "append", adopt=True)


def test_a_frozen_table_is_refilled_with_its_keys_and_types(path: Path, load: Any) -> None:
    rows(path, "CREATE TABLE items (id INTEGER PRIMARY KEY, v DECIMAL(5, 2))")
    rows(path, "INSERT INTO items VALUES (1, 2)")

    load({"id": [1, 3]}, schema_contract="freeze", adopt=True)

    assert rows(path, "SELECT id, v, typeof(v) FROM items ORDER BY id") == [
        (1, None, "DECIMAL(5,2)"), (3, None, "DECIMAL(5,2)"),
    ]  # fmt: skip
    assert rows(path, "SELECT count(*) FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'") == [
        (1,)
    ]


def test_a_double_for_a_column_of_large_integers_is_refused(path: Path, load: Any) -> None:
    rows(path, f"CREATE TABLE items (v BIGINT); INSERT INTO items VALUES ({2**53 + 1})")

    with pytest.raises(Rejected, match="Column 'v'"):
        load({"v": [1.5]}, "append", adopt=True)


class Stop(Exception):
    """What the engine raises when the run is no longer this worker's."""


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_a_load_that_is_stopped_leaves_the_file_as_it_was(path: Path, load: Any, disposition: str) -> None:
    load({"id": [1]}, cursor=1)

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        load({"id": [2], "w": [1]}, disposition, primary_key=("id",), before_commit=stop, cursor=2)

    assert rows(path, "SELECT * FROM items") == [(1,)]
    assert rows(path, "SELECT cursor FROM _headrace_loads") == [("1",)]


def test_the_load_is_noted_with_the_data_and_not_done_twice(path: Path, load: Any) -> None:
    before = DuckDBDestination(path=str(path)).last_load("pipeline-1")
    load({"a": [1]}, "append", load_id="run-1", cursor=[1])
    load({"a": [1]}, "append", load_id="run-1", cursor=[1])

    assert before is None
    assert DuckDBDestination(path=str(path)).last_load("pipeline-1") == Loaded(
        load_id="run-1", cursor=[1], table="items"
    )
    assert rows(path, "SELECT a FROM items") == [(1,)]


def test_a_second_writer_is_told_to_come_back_later(path: Path, load: Any) -> None:
    load({"a": [1]})
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(Busy) as caught:
            load({"a": [2]})
        other.communicate()

    assert caught.value.temporary


def test_check_tells_a_usable_file_from_one_that_is_not(path: Path, tmp_path: Path, load: Any) -> None:
    (tmp_path / "text").write_text("no database")

    assert "will be made" in DuckDBDestination(path=str(path)).check()
    load({"a": [1]})
    assert "can be written to" in DuckDBDestination(path=str(path)).check()
    assert "2 tables and views" in DuckDBSource(path=str(path)).check()
    for bad in (tmp_path / "text", tmp_path / "no" / "folder"):
        with pytest.raises(Unreachable):
            DuckDBDestination(path=str(bad)).check()
    with pytest.raises(Unreachable):
        DuckDBSource(path=str(tmp_path / "missing")).check()


def test_columns_that_differ_only_in_case_are_refused(load: Any) -> None:
    with pytest.raises(Rejected, match="other case"):
        load({"a": [1], "A": [2]})


@pytest.mark.parametrize("name", ['we"ird', "Größe", "with space", "select", "a.b", "it's"])
def test_any_identifier_goes_there_and_back(path: Path, load: Any, name: str) -> None:
    load({name: [1]}, config={"schema": name, "table": name})
    load({name: [1]}, "merge", config={"schema": name, "table": name}, primary_key=(name,))

    found = Read(DuckDBSource(path=str(path)), f"{name}.{name}", name)

    assert found.rows == [{name: 1}]
    assert found.value == 1


def test_the_source_reads_what_arrow_cannot_hold_as_text_or_null(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows(
        path,
        "CREATE TABLE t (h HUGEINT, i INTERVAL, b BIT, e ENUM('x'), d DATE, s STRUCT(a HUGEINT), l INT[2])",
    )
    rows(
        path,
        f"INSERT INTO t VALUES ({2**127 - 1}, INTERVAL 1 MONTH, '101', 'x', 'infinity', {{'a': 1}}, [1, 2])",
    )

    table, _ = read(path, "t")

    assert table.to_pylist() == [
        {"h": str(2**127 - 1), "i": "1 month", "b": "101", "e": "x", "d": None, "s": '{"a":1}', "l": [1, 2]}
    ]
    assert "Rows with an infinite date or time are null there. (1)" in caplog.text


def test_the_source_goes_on_after_its_cursor_and_yields_an_empty_batch_for_nothing(path: Path) -> None:
    rows(path, "CREATE TABLE t (id INT PRIMARY KEY, changed TIMESTAMPTZ)")
    rows(path, "INSERT INTO t VALUES (2, '2024-01-02 00:00:00+00'), (1, '2024-01-01 00:00:00+00')")

    everything = Read(DuckDBSource(path=str(path)), "t", "changed")
    nothing = Read(DuckDBSource(path=str(path)), "t", "changed", everything.cursor)

    assert everything.column("id") == [1, 2]
    assert nothing.rows == []
    assert nothing.schema.names == ["id", "changed"]
    assert DuckDBSource(path=str(path)).describe("t").primary_key == ("id",)


@pytest.mark.parametrize(
    ("declared", "finite", "placeless"),
    [
        ("DOUBLE", "1.5", ["'inf'", "'-inf'", "'nan'", "NULL"]),
        ("TIMESTAMP", "'2024-01-01'", ["'infinity'", "'-infinity'", "NULL"]),
        ("TIMESTAMP_NS", "'2024-01-01 00:00:00.000000001'", ["'infinity'", "'-infinity'", "NULL"]),
        ("DATE", "'2024-01-01'", ["'infinity'", "'-infinity'", "NULL"]),
    ],
)
def test_values_without_a_place_in_the_order_come_once_and_are_no_cursor(
    path: Path, declared: str, finite: str, placeless: list[str]
) -> None:
    source = DuckDBSource(path=str(path))
    rows(path, f"CREATE TABLE t (id INT, c {declared})")
    rows(path, f"INSERT INTO t VALUES (0, {finite})")
    first = Read(source, "t", "c")
    rows(path, "INSERT INTO t VALUES " + ", ".join(f"({n}, {v})" for n, v in enumerate(placeless, 1)))
    second = Read(source, "t", "c", first.cursor)

    assert sorted(second.column("id")) == list(range(1, len(placeless) + 1))
    assert second.value == first.value
    assert Read(source, "t", "c", second.cursor).batches[0].num_rows == 0


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("VARCHAR COLLATE NOCASE", ["'B'", "'a'", "'b'"]),
        ("ENUM('z', 'a')", ["'a'", "'z'", "'z'"]),
        ("HUGEINT", ["9", "10", "170141183460469231731687303715884105727"]),
        ("UUID", ["'00000000-0000-0000-0000-00000000000a'", "'80000000-0000-0000-0000-000000000000'",
                  "'f0000000-0000-0000-0000-000000000000'"]),
    ],
)  # fmt: skip
def test_each_type_is_ordered_as_the_engine_orders_it(path: Path, declared: str, values: list[str]) -> None:
    source = DuckDBSource(path=str(path))
    rows(path, f"CREATE TABLE t (id INT, c {declared})")
    rows(path, f"INSERT INTO t VALUES (0, {values[0]}), (1, {values[1]})")
    first = Read(source, "t", "c")
    rows(path, f"INSERT INTO t VALUES (2, {values[2]})")

    assert sorted(first.column("id")) == [0, 1]
    assert Read(source, "t", "c", first.cursor).column("id") == [2]


@pytest.mark.parametrize("declared", ["BLOB", "BOOLEAN", "INT[]", "INTERVAL"])
def test_a_type_without_an_order_is_refused_as_a_cursor(path: Path, declared: str) -> None:
    rows(path, f"CREATE TABLE t (c {declared})")

    with pytest.raises(Unreadable, match="cannot serve as a cursor"):
        Read(DuckDBSource(path=str(path)), "t", "c")


def test_a_missing_table_is_named(path: Path) -> None:
    rows(path, "CREATE TABLE t (a INT)")

    with pytest.raises(Unreadable, match="'nope'"):
        read(path, "nope")


def test_the_outputs_own_path_says_nothing_of_its_rows(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tenant=acme" / "a[1]*?"
    folder.mkdir(parents=True)
    table = pa.table({"id": [1, 2], "tenant": ["beta", "gamma"]})

    DuckDBDestination(path=str(path)).load(request_for(table, folder))

    assert rows(path, "FROM items ORDER BY id") == [(1, "beta"), (2, "gamma")]


@pytest.mark.parametrize("name", ["file_row_number", "FILE_ROW_NUMBER", "filename", "file_index", "rowid"])
def test_a_column_may_have_a_name_that_duckdbs_reader_uses(path: Path, load: Any, name: str) -> None:
    load({"id": [1, 2, 1], name: [10, 20, 30]}, "merge", primary_key=("id",))

    assert rows(path, f'SELECT id, "{name}" FROM items ORDER BY id') == [(1, 30), (2, 20)]
