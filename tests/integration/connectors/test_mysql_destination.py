"""The destination `mysql` against a real MariaDB: dispositions, types, schemas, what a stop leaves."""

import datetime as dt
import logging
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mariadb_server import MariaDBServer
from outputs import request_for

from headrace.connectors import Loaded, ReadRequest, Rejected, SchemaConflict, SchemaFrozen, Unauthorized
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.mysql.connector import MySQLDestination, MySQLSource
from headrace.connectors.mysql.loads import MySQLLedger


class Loader:
    """Loads tables into one database, each under a load id of its own."""

    def __init__(self, server: MariaDBServer, config: dict[str, Any], folder: Path) -> None:
        self.server, self.config, self.folder = server, config, folder

    def __call__(
        self, given: pa.Table | dict[str, Any], disposition: str = "replace", /, **changes: Any
    ) -> Any:
        config = self.config | changes.pop("config", {})
        table = given if isinstance(given, pa.Table) else pa.table(given)
        request = request_for(table, self.folder, disposition=disposition, **changes)
        return MySQLDestination(**config).load(request)

    def rows(self, *statements: str) -> list[tuple[Any, ...]]:
        with self.server.connection(self.config["database"]) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def types(self, table: str = "items") -> dict[str, str]:
        return {row[0]: row[1] for row in self.rows(f"SHOW COLUMNS FROM `{table}`")}

    def tables(self) -> set[str]:
        return {name for (name,) in self.rows("SHOW TABLES")}


@pytest.fixture
def load(mariadb_server: MariaDBServer, mysql_config: dict[str, Any], tmp_path: Path) -> Loader:
    return Loader(mariadb_server, mysql_config, tmp_path)


MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - without a zone on purpose
ARRIVALS = [
    (pa.array([True, None]), "tinyint(1)", 1),
    (pa.array([-(2**63), None]), "bigint(20)", -(2**63)),
    (pa.array([2**64 - 1, None], pa.uint64()), "bigint(20) unsigned", 2**64 - 1),
    (pa.array([255, None], pa.uint8()), "tinyint(3) unsigned", 255),
    (pa.array([0.1, None]), "double", 0.1),
    (pa.array([5e-324, None]), "double", 5e-324),
    (pa.array([1.7976931348623157e308, None]), "double", 1.7976931348623157e308),
    (pa.array([1.5, None], pa.float16()), "float", 1.5),
    (pa.array([Decimal("-1.000000001"), None], pa.decimal128(38, 9)), "decimal(38,9)",
     Decimal("-1.000000001")),
    (pa.array([Decimal("1E-20"), None], pa.decimal256(65, 30)), "decimal(65,30)", Decimal("1E-20")),
    (pa.array([Decimal("1.5"), None], pa.decimal256(70, 1)), "longtext", "1.5"),
    (pa.array(["\u00fc\U0001f600\n\\N'\"%s", None]), "longtext", "\u00fc\U0001f600\n\\N'\"%s"),
    (pa.array(["a\0b", None]), "longtext", "a\0b"),
    (pa.array(["a", None]).dictionary_encode(), "longtext", "a"),
    (pa.array([b"\0\xff'", None]), "longblob", b"\0\xff'"),
    (pa.array([dt.date(1, 1, 1), None]), "date", dt.date(1, 1, 1)),
    (pa.array([dt.time(23, 59, 59, 1), None]), "time(6)",
     dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=1)),
    (pa.array([MOMENT, None], pa.timestamp("us")), "datetime(6)", MOMENT),
    (pa.array([MOMENT, None], pa.timestamp("us", "Asia/Tokyo")), "datetime(6)", MOMENT),
    (pa.array([dt.timedelta(days=-1), None]), "bigint(20)", -86_400_000_000),
    (pa.nulls(2), "longtext", None),
    (pa.array([[{"x": Decimal("1.10")}], None]), "longtext", '[{"x":1.10}]'),
    (pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()), "longtext", str(uuid.UUID(int=5))),
]  # fmt: skip


@pytest.mark.parametrize(("array", "declared", "value"), ARRIVALS, ids=lambda value: str(value)[:20])
def test_each_arrow_type_arrives_exactly(load: Loader, array: pa.Array, declared: str, value: Any) -> None:
    load(pa.table({"v": array, "n": [1, 2]}))

    assert load.types()["v"] == declared
    assert load.rows("SELECT v FROM items ORDER BY n") == [(value,), (None,)]


@pytest.mark.parametrize(
    "array",
    [pa.array([float("nan")]), pa.array([float("inf")]), pa.array([2**62], pa.timestamp("us"))],
)
def test_a_value_that_mysql_cannot_hold_is_refused_by_name(load: Loader, array: pa.Array) -> None:
    with pytest.raises(Rejected, match="Column 'v'"):
        load(pa.table({"v": array}))

    assert load.tables() <= {"_headrace_loads"}


def test_replace_append_and_merge(load: Loader) -> None:
    key = {"primary_key": ("id",)}
    load({"id": ["a", "b"], "v": [1, 2]}, "merge", **key)
    load({"id": ["b", "B", "b", "b "], "v": [3, 4, 5, 6]}, "merge", **key)
    load({"id": ["c"]}, "append")

    assert sorted(load.rows("SELECT * FROM items")) == [
        ("B", 4), ("a", 1), ("b", 5), ("b ", 6), ("c", None),
    ]  # fmt: skip


def test_merge_leaves_columns_and_rows_alone_that_are_not_brought(load: Loader) -> None:
    load.rows(
        "CREATE TABLE items (b VARCHAR(9), a BIGINT, v INT UNIQUE, own TEXT DEFAULT 'mine', UNIQUE (a, b))",
        "INSERT INTO items VALUES ('x', 1, 7, 'kept'), ('z', 1, 8, 'other')",
    )

    load({"a": [1, 1], "b": ["x", "y"], "v": [70, 9]}, "merge", primary_key=("a", "b"), adopt=True)
    with pytest.raises(Rejected, match="two rows have one value"):
        load({"a": [2], "b": ["x"], "v": [8]}, "merge", primary_key=("a", "b"), adopt=True)

    assert load.rows("SELECT * FROM items ORDER BY b") == [
        ("x", 1, 70, "kept"), ("y", 1, 9, "mine"), ("z", 1, 8, "other"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "key"),
    [({"id": [1]}, ()), ({"id": [1]}, ("nope",)), ({"id": pa.array([None], pa.int64())}, ("id",))],
)
def test_a_merge_without_a_usable_key_is_refused(load: Loader, table: Any, key: tuple[str, ...]) -> None:
    with pytest.raises(Rejected, match="key"):
        load(table, "merge", primary_key=key)


def test_empty_results_empty_the_table(load: Loader) -> None:
    load({"a": [1]})
    load(pa.table({}))

    assert (load.rows("SELECT count(*) FROM items"), load.types()) == ([(0,)], {"a": "bigint(20)"})

    load(pa.table({"b": pa.array([], pa.string())}))

    assert load.types() == {"b": "longtext"}


WIDENED = [
    ("smallint", pa.array([2**40]), "bigint(20)", ["1", str(2**40)]),
    ("int", pa.array([7]), "int(11)", ["1", "7"]),
    ("int unsigned", pa.array([-1]), "bigint(20)", ["1", "-1"]),
    ("bigint", pa.array([2**64 - 1], pa.uint64()), "decimal(20,0)", ["1", str(2**64 - 1)]),
    ("int", pa.array([1.5]), "double", ["1", "1.5"]),
    ("float", pa.array([0.1]), "double", ["1", "0.1"]),
    ("double", pa.array([2**53]), "double", ["1", "9.007199254740992e15"]),
    ("decimal(5,2)", pa.array([Decimal("0.12345")]), "decimal(8,5)", ["1.00000", "0.12345"]),
    ("bigint", pa.array([Decimal("0.5")]), "decimal(20,1)", ["1.0", "0.5"]),
    ("varchar(3)", pa.array(["abcd"]), "longtext", ["1", "abcd"]),
    ("varchar(3)", pa.array(["\U0001f600"]), "longtext", ["1", "\U0001f600"]),
    ("varchar(30)", pa.array([7]), "varchar(30)", ["1", "7"]),
    ("enum('1','b')", pa.array(["b"]), "enum('1','b')", ["1", "b"]),
    ("bigint", pa.array(["007"]), "longtext", ["1", "007"]),
    ("decimal(5,2)", pa.array(["n/a"]), "longtext", ["1.00", "n/a"]),
    ("bigint", pa.nulls(1), "bigint(20)", ["1", None]),
]


@pytest.mark.parametrize(("held", "array", "declared", "texts"), WIDENED, ids=lambda value: str(value)[:20])
def test_a_column_takes_what_fits_and_is_widened_for_the_rest(
    load: Loader, held: str, array: pa.Array, declared: str, texts: list[str | None]
) -> None:
    load.rows(
        f"CREATE TABLE items (v {held}, n INT AUTO_INCREMENT PRIMARY KEY)",
        "INSERT INTO items (v) VALUES ('1')",
    )

    load(pa.table({"v": array}), "append", adopt=True)

    assert load.types()["v"] == declared
    assert [value for (value,) in load.rows("SELECT CAST(v AS CHAR) FROM items ORDER BY n")] == texts


LOST = [
    ("double", pa.array([2**53 + 1])),
    ("float", pa.array([2**24 + 1])),
    ("float", pa.array(["x"])),
    ("decimal(5,2)", pa.array([0.125])),
    ("double", pa.array([Decimal("0.1")])),
    ("char(3)", pa.array(["ab "])),
    ("enum('a')", pa.array(["A"])),
    ("timestamp NULL", pa.array([dt.datetime(2040, 1, 1)], pa.timestamp("us"))),  # noqa: DTZ001
    ("datetime", pa.array([1])),
    ("date", pa.array([1])),
    ("longblob", pa.array(["x"])),
    ("bit(3)", pa.array([1])),
]


@pytest.mark.parametrize(("held", "array"), LOST, ids=lambda value: str(value)[:20])
def test_what_would_lose_a_value_is_refused_and_changes_nothing(
    load: Loader, held: str, array: pa.Array
) -> None:
    load.rows(f"CREATE TABLE items (v {held}, n INT)", "INSERT INTO items VALUES (NULL, 1)")
    before = load.types()

    with pytest.raises(SchemaConflict, match="Column 'v'"):
        load(pa.table({"new": [1], "v": array}), "append", adopt=True)

    assert (load.types(), load.rows("SELECT * FROM items")) == (before, [(None, 1)])


def test_a_column_that_a_key_holds_at_its_type_is_named(load: Loader) -> None:
    load.rows(
        "CREATE TABLE parents (id INT PRIMARY KEY)",
        "CREATE TABLE items (v INT, FOREIGN KEY (v) REFERENCES parents (id), w INT DEFAULT 7)",
    )

    for column in ("v", "w"):
        with pytest.raises(SchemaConflict, match=f"Column '{column}' cannot be widened"):
            load({column: [2**40]}, "append", adopt=True)


def test_a_widened_column_keeps_its_comment_and_refuses_nulls_as_before(load: Loader) -> None:
    load.rows("CREATE TABLE items (v INT NOT NULL COMMENT 'it''s known')")

    load({"v": [2**40]}, "append", adopt=True)

    ((_, created),) = load.rows("SHOW CREATE TABLE items")
    assert "`v` bigint(20) NOT NULL COMMENT 'it''s known'" in created


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_a_frozen_table_keeps_its_columns_and_types(load: Loader, disposition: str) -> None:
    load.rows("CREATE TABLE items (id INT PRIMARY KEY, v VARCHAR(3))", "INSERT INTO items VALUES (1, 'abc')")
    before = load.types()

    for given, column in [
        ({"id": [2], "w": [1]}, "w"),
        ({"id": [2**40]}, "id"),
        ({"id": [2], "v": ["abcd"]}, "v"),
    ]:
        with pytest.raises(SchemaFrozen, match=f"Column '{column}'"):
            load(given, disposition, primary_key=("id",), schema_contract="freeze", adopt=True)

    assert (load.types(), load.rows("SELECT * FROM items")) == (before, [(1, "abc")])


class Stop(Exception):
    """What the engine raises when the run is no longer this worker's."""


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
@pytest.mark.parametrize("hook", ["before_commit", "progress"])
def test_a_load_that_is_stopped_publishes_and_leaves_nothing(
    load: Loader, disposition: str, hook: str
) -> None:
    load({"id": [1]}, cursor=1)

    def stop(*_: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        load({"id": [2]}, disposition, primary_key=("id",), cursor=2, **{hook: stop})

    assert load.rows("SELECT * FROM items") == [(1,)]
    assert load.rows("SELECT `cursor` FROM _headrace_loads") == [("1",)]
    assert load.tables() == {"items", "_headrace_loads"}


def test_a_kill_between_the_swap_and_its_note_is_repaired_by_the_next_run(
    load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise Stop

    load({"id": [1]}, load_id="one", cursor=1)
    with monkeypatch.context() as patched:
        patched.setattr(MySQLLedger, "write", die)
        with pytest.raises(Stop):
            load({"id": [2]}, load_id="two", cursor=2)

    assert load.rows("SELECT * FROM items") == [(2,)]
    assert MySQLDestination(**load.config).last_load("pipeline-1") == Loaded(
        load_id="one", cursor=1, table="items"
    )
    load({"id": [2]}, load_id="two", cursor=2)
    assert load.rows("SELECT * FROM items") == [(2,)]
    assert load.tables() == {"items", "_headrace_loads"}


def test_a_load_that_was_committed_is_not_done_twice(load: Loader) -> None:
    for _ in range(2):
        load({"id": [1]}, "append", load_id="one", cursor={"at": "it's"})

    assert load.rows("SELECT * FROM items") == [(1,)]
    assert MySQLDestination(**load.config).last_load("pipeline-1") == Loaded(
        load_id="one", cursor={"at": "it's"}, table="items"
    )
    assert MySQLDestination(**load.config).last_load("another") is None


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX i ON items (a)",
        "ALTER TABLE items MODIFY a BIGINT NOT NULL",
        "ALTER TABLE items ADD own VARCHAR(9) DEFAULT 'x'",
        "CREATE TRIGGER t BEFORE INSERT ON items FOR EACH ROW SET @seen = 1",
        "ALTER TABLE items ADD CHECK (a > 0)",
        "ALTER TABLE items COMMENT 'known'",
    ],
)
def test_a_table_that_something_hangs_on_is_refilled_where_it_is(load: Loader, statement: str) -> None:
    load({"a": [1]}, adopt=True)
    load.rows(statement)
    before = load.rows("SHOW CREATE TABLE items")

    load({"a": [2, 3]}, adopt=True)

    assert load.rows("SELECT a FROM items ORDER BY a") == [(2,), (3,)]
    assert load.rows("SHOW CREATE TABLE items") == before


def test_what_is_no_table_of_innodb_is_refused(load: Loader) -> None:
    load.rows("CREATE TABLE old (id INT) ENGINE = MyISAM", "CREATE VIEW items AS SELECT 1 AS id")

    with pytest.raises(Rejected, match="is a view"):
        load({"id": [1]}, adopt=True)
    with pytest.raises(Rejected, match="MyISAM, which has no transactions"):
        load({"id": [1]}, config={"table": "old"}, adopt=True)


@pytest.mark.parametrize(
    "name", ['we"ird', "Gr\u00f6\u00dfe", "select", "it's", "a.b", "%s$1", "`b`", "\\", "x" * 64]
)
def test_any_identifier_is_created_as_it_is_written(load: Loader, name: str) -> None:
    for disposition in ("append", "replace", "merge"):
        load({name: [1]}, disposition, primary_key=(name,), config={"table": name})

    (batch,) = MySQLSource(**load.config).read(ReadRequest(stream=name))
    assert batch.to_pylist() == [{name: 1}]


@pytest.mark.parametrize("name", ["x" * 65, "blank ", "\U0001f600"])
def test_a_name_that_mysql_does_not_keep_is_refused(load: Loader, name: str) -> None:
    with pytest.raises(Rejected, match="name"):
        load({name: [1]})
    with pytest.raises(Rejected, match="name"):
        load({"a": [1]}, config={"table": name})


def test_two_loads_of_a_table_wait_for_each_other_and_the_error_names_the_holder(load: Loader) -> None:
    def other() -> None:
        load({"id": [2]}, config={"limits": {"lock_timeout": 0.1}})

    with pytest.raises(Busy, match=r"A session has the lock: connection \d+, user loader from"):
        load({"id": [1]}, before_commit=other)


def test_a_table_that_stays_locked_is_a_temporary_failure(load: Loader) -> None:
    load({"a": [1]})

    with load.server.connection(load.config["database"]) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM items")
        with pytest.raises(Busy) as caught:
            load({"a": [2]}, config={"limits": {"lock_timeout": 1}})

    assert caught.value.temporary
    assert load.rows("SELECT a FROM items") == [(1,)]


def test_rights_that_are_missing_are_unauthorized(load: Loader) -> None:
    load.rows("CREATE OR REPLACE USER reader@'127.0.0.1'", "GRANT SELECT ON *.* TO reader@'127.0.0.1'")
    config = {"user": "reader", "password": None}

    with pytest.raises(Unauthorized):
        MySQLDestination(**load.config | config).check()
    with pytest.raises(Unauthorized):
        load({"a": [1]}, config=config)


def test_many_rows_arrive_in_several_statements_and_the_log_says_nothing(
    load: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    count = 30_000
    with caplog.at_level(logging.INFO, "headrace.connector"):
        load({"id": range(count), "text": [f"{n:0100}" for n in range(count)]})

    assert load.rows("SELECT count(*), sum(id), sum(CAST(text AS SIGNED)) FROM items") == [
        (count, sum(range(count)), sum(range(count)))
    ]
    assert caplog.messages == []
