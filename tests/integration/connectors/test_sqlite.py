"""SQLite files as source and destination: values as they are, whatever a column declares."""

import datetime as dt
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from incremental import Read
from outputs import request_for

from headrace.connectors import (
    Checkpoint,
    Loaded,
    ReadRequest,
    Rejected,
    SyncMode,
    Unreachable,
    Unreadable,
)
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.sqlite import connection as sqlite_connection
from headrace.connectors.sqlite.connector import SQLiteDestination, SQLiteSource
from headrace.engine.cursors.boundary import TiesChanged


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some file?#%.db"


@pytest.fixture
def load(path: Path, tmp_path: Path) -> Any:
    outputs = tmp_path / "outputs"
    outputs.mkdir()

    def load(given: pa.Table | dict[str, Any], disposition: str = "replace", /, **changes: Any) -> Any:
        config = changes.pop("config", {})
        table = given if isinstance(given, pa.Table) else pa.table(given)
        request = request_for(table, outputs, disposition=disposition, **changes)
        return SQLiteDestination(path=str(path), **config).load(request)

    return load


def rows(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def read(path: Path, stream: str, **changes: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    found: list[dict[str, Any]] = []
    cursors = []
    for item in SQLiteSource(path=str(path)).read(ReadRequest(stream=stream, **changes)):
        if isinstance(item, Checkpoint):
            cursors.append(item.cursor)
        else:
            found += item if isinstance(item, list) else item.to_pylist()
    return found, cursors


def incremental(path: Path, cursor: Any = None, **changes: Any) -> Read:
    return Read(SQLiteSource(path=str(path)), "t", "c", cursor, **changes)


def test_values_keep_their_own_types_whatever_the_column_declares(path: Path) -> None:
    values = [1, 2**63 - 1, 1.5, "x", "", "\0", b"\x00\xff", None, float("inf")]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (v)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        connection.execute("INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")

    found, _ = read(path, "t")

    assert [row["v"] for row in found] == [*values, b"\xff"]


def test_an_empty_table_yields_one_empty_batch_typed_by_its_affinities(path: Path) -> None:
    rows(path, "CREATE TABLE t (a BIGINT, b VARCHAR(5), c DOUBLE, d BLOB, e DECIMAL(5, 2))")

    [batch] = SQLiteSource(path=str(path)).read(ReadRequest(stream="t"))

    assert isinstance(batch, pa.RecordBatch)
    assert batch.num_rows == 0
    assert batch.schema.types == [pa.int64(), pa.string(), pa.float64(), pa.binary(), pa.null()]


def test_streams_are_tables_and_views_with_their_keys(path: Path) -> None:
    rows(path, "CREATE TABLE t (a, b, c, PRIMARY KEY (c, a))", "CREATE VIEW v AS SELECT 1 AS one")

    streams = SQLiteSource(path=str(path)).streams()

    assert [(stream.name, stream.primary_key) for stream in streams] == [("t", ("c", "a")), ("v", ())]


def test_the_source_goes_on_after_its_cursor(path: Path) -> None:
    rows(path, "CREATE TABLE t (id, c)", "INSERT INTO t VALUES (3, 'b''x'), (1, NULL), (2, 'a')")

    everything = incremental(path)
    nothing = incremental(path, everything.cursor)
    rest = incremental(path, "a")

    assert everything.column("id") == [1, 2, 3]
    assert (everything.value, nothing.cursor, nothing.rows) == ("b'x", everything.cursor, [])
    assert rest.column("id") == [3]


def test_a_trial_never_loses_rows_that_share_a_cursor(path: Path) -> None:
    rows(
        path,
        "CREATE TABLE t AS WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id < 24999)"
        " SELECT id, id / 3000 AS c FROM n",
    )

    some = incremental(path, max_iterations=1)
    rest = incremental(path, some.cursor)

    assert 10_000 <= len(some.rows) < 25_000
    assert sorted(some.column("id") + rest.column("id")) == list(range(25_000))


def test_a_column_of_numbers_and_texts_needs_a_declared_order(path: Path) -> None:
    rows(path, "CREATE TABLE t (id, c)", "INSERT INTO t VALUES (1, 9), (2, '10')")

    with pytest.raises(Unreadable, match="cursor_type"):
        incremental(path)
    first = incremental(path, declared="integer")
    rows(path, "INSERT INTO t VALUES (3, 11), (4, '12'), (5, 10)")

    assert (first.column("id"), first.value) == ([1, 2], "10")
    assert sorted(incremental(path, first.cursor, declared="integer").column("id")) == [3, 4, 5]


def test_text_is_ordered_by_its_code_points_whatever_the_columns_collation(path: Path) -> None:
    rows(path, "CREATE TABLE t (id, c TEXT COLLATE NOCASE)", "INSERT INTO t VALUES (1, 'B'), (2, 'a')")
    first = incremental(path)
    rows(path, "INSERT INTO t VALUES (3, 'b')")

    assert first.value == "a"
    assert incremental(path, first.cursor).column("id") == [3]


def test_infinity_and_null_are_no_cursor_and_come_once(path: Path) -> None:
    rows(
        path,
        "CREATE TABLE t (id, c REAL)",
        "INSERT INTO t VALUES (1, 9e999), (2, -9e999), (3, 1.5), (4, NULL)",
    )
    first = incremental(path)
    rows(path, "INSERT INTO t VALUES (5, 9e999), (6, -9e999), (7, 2.5), (8, NULL)")
    second = incremental(path, first.cursor)

    assert (sorted(first.column("id")), first.value) == ([1, 2, 3, 4], 1.5)
    assert (sorted(second.column("id")), second.value) == ([5, 6, 7, 8], 2.5)


def test_many_ties_are_counted_by_the_database_and_read_again_only_if_there_are_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.engine.cursors.followers.MOST_HASHES", 2)
    rows(
        path,
        "CREATE TABLE t (id, c)",
        "INSERT INTO t VALUES (1, 5), (2, 5), (3, 5), (4, NULL), (5, NULL), (6, NULL)",
    )
    first = incremental(path)
    rows(path, "INSERT INTO t VALUES (7, 6)")

    assert (first.cursor["ties"], first.cursor["null_rows"]) == (3, 3)
    assert incremental(path, first.cursor).column("id") == [7]
    rows(path, "INSERT INTO t VALUES (8, 5)")
    with pytest.raises(TiesChanged):
        incremental(path, first.cursor)
    assert sorted(incremental(path, first.cursor, merges=True).column("id")) == [1, 2, 3, 7, 8]


@pytest.mark.parametrize("name", ['we"ird', "Größe", "with space", "select", "it's"])
def test_any_identifier_goes_there_and_back(path: Path, load: Any, name: str) -> None:
    load({name: [1]}, "merge", config={"table": name}, primary_key=(name,))
    load({name: [1]}, "merge", config={"table": name}, primary_key=(name,))

    assert read(path, name)[0] == [{name: 1}]


ARRIVALS = [
    (pa.array([True]), 1),
    (pa.array([-(2**63)]), -(2**63)),
    (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
    (pa.array([0.1]), 0.1),
    (pa.array([Decimal("1.50")], pa.decimal128(38, 9)), "1.500000000"),
    (pa.array(["a\0b"]), "a\0b"),
    (pa.array([b"\x00"]), b"\x00"),
    (pa.array([dt.date(2024, 1, 2)]), "2024-01-02"),
    (pa.array([1], pa.timestamp("us", "UTC")), "1970-01-01T00:00:00.000001Z"),
    (pa.array([{"a": [1, None]}]), '{"a":[1,null]}'),
    (pa.nulls(1), None),
]


@pytest.mark.parametrize(("array", "value"), ARRIVALS, ids=[str(case[0].type) for case in ARRIVALS])
def test_each_arrow_type_arrives_exactly(path: Path, load: Any, array: pa.Array, value: Any) -> None:
    load(pa.table({"v": array}))

    assert rows(path, "SELECT v FROM items") == [(value,)]


def test_replace_append_and_merge(path: Path, load: Any) -> None:
    load({"id": [9], "gone": [1]})
    result = load({"id": [1, 2], "v": ["a", "b"]})
    load({"id": [3], "w": [1.5]}, "append")
    load({"v": ["d", "c", "e"], "id": [4, 2, 4]}, "merge", primary_key=("id",))

    assert rows(path, "SELECT id, v, w FROM items ORDER BY id") == [
        (1, "a", None), (2, "c", None), (3, None, 1.5), (4, "e", None),
    ]  # fmt: skip
    assert (result.rows, result.location) == (2, f"sqlite: {path}: items")


def test_a_result_without_rows_or_columns_empties_the_table(path: Path, load: Any) -> None:
    load({"a": [1]})
    load(pa.table({}))

    assert rows(path, "SELECT count(a) FROM items") == [(0,)]


@pytest.mark.parametrize(
    ("held", "array"),
    [
        ("INTEGER", pa.array(["007"])),
        ("NUMERIC", pa.array([Decimal("1.10")])),
        ("REAL", pa.array([2**53 + 1])),
    ],
)
def test_what_an_affinity_would_change_is_refused_by_name(
    path: Path, load: Any, held: str, array: pa.Array
) -> None:
    rows(path, f"CREATE TABLE items (v {held})")

    with pytest.raises(Rejected, match="Column 'v'"):
        load(pa.table({"new": [1], "v": array}), "append", adopt=True)

    assert rows(path, "SELECT * FROM pragma_table_info('items')")[0][1:3] == ("v", held)
    assert rows(path, "SELECT count(*) FROM items") == [(0,)]


class Stop(Exception):
    """What the engine raises when the run is no longer this worker's."""


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
@pytest.mark.parametrize("hook", ["before_commit", "progress"])
def test_a_load_that_is_stopped_leaves_the_file_as_it_was(
    path: Path, load: Any, disposition: str, hook: str
) -> None:
    load({"id": [1]}, cursor=1)

    def stop(*_: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        load({"id": [2], "w": [1]}, disposition, primary_key=("id",), cursor=2, **{hook: stop})

    assert rows(path, "SELECT * FROM items") == [(1,)]
    assert rows(path, "SELECT cursor FROM _headrace_loads") == [("1",)]


def test_the_load_is_noted_with_the_data_and_not_done_twice(path: Path, load: Any) -> None:
    before = SQLiteDestination(path=str(path)).last_load("pipeline-1")
    load({"a": [1]}, "append", load_id="run-1", cursor={"at": 1})
    load({"a": [1]}, "append", load_id="run-1", cursor={"at": 1})

    assert before is None
    assert SQLiteDestination(path=str(path)).last_load("pipeline-1") == Loaded(
        load_id="run-1", cursor={"at": 1}, table="items"
    )
    assert rows(path, "SELECT a FROM items") == [(1,)]


def test_a_second_writer_is_told_to_come_back_later(
    path: Path, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.05)
    load({"a": [1]})

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy) as caught:
            load({"a": [2]})

    assert caught.value.temporary


def test_check_tells_a_usable_file_from_one_that_is_not(path: Path, tmp_path: Path, load: Any) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 30)

    assert "will be made" in SQLiteDestination(path=str(path)).check()
    load({"a": [1]})
    assert "can be written to" in SQLiteDestination(path=str(path)).check()
    assert "2 tables and views" in SQLiteSource(path=str(path)).check()
    for bad in (tmp_path / "text", tmp_path / "no" / "folder"):
        with pytest.raises(Unreachable):
            SQLiteDestination(path=str(bad)).check()
    with pytest.raises(Unreachable):
        SQLiteSource(path=str(tmp_path / "missing")).check()


@pytest.mark.parametrize(("stream", "changes"), [("nope", {}), ("t", {"cursor_field": "nope"}), ("t", {})])
def test_what_cannot_be_read_is_refused(path: Path, stream: str, changes: dict[str, Any]) -> None:
    rows(path, "CREATE TABLE t (c)")

    with pytest.raises(Unreadable):
        read(path, stream, sync_mode=SyncMode.INCREMENTAL, **changes)
