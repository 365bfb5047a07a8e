"""Random histories of a table, read incrementally between its changes: every row once, at its newest.

The oracle knows nothing of the engine: it keeps what was written to the source and compares multisets.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from effort import times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from incremental import Read

from headrace.connectors import Source
from headrace.connectors.duckdb.connector import DuckDBSource
from headrace.connectors.postgres.connector import PostgresSource
from headrace.connectors.sqlite.connector import SQLiteSource

EXAMPLES = times("INCREMENTAL", 4, 100)  # of each table and mode
Execute = Callable[..., Any]
_SECONDS = [
    "2024-01-31 23:59:{:02d}", "2024-01-31T23:59:{:02d}Z", "2024-01-31T23:59:{:02d}.000Z",
    "2024-02-01T01:59:{:02d}+02:00", "2024-01-31T21:29:{:02d}-02:30",
]  # fmt: skip

# How the n-th moment is written, in several forms of one value where the column has no order of its own.
FORMS: dict[str, Callable[[int, int], Any]] = {
    "integer": lambda n, form: n + 8,
    "numbers in text": lambda n, form: [f"{n + 8}", f"0{n + 8}", f"{n + 8}.0", f"+{n + 8}"][form % 4],
    "times in text": lambda n, form: _SECONDS[form % len(_SECONDS)].format(n + 8),
    "date": lambda n, form: f"2024-02-{n + 1:02d}",
    "double": lambda n, form: n / 4 - 1,
    "decimal": lambda n, form: f"{n}.50",
    "timestamp": lambda n, form: f"2024-01-01 00:00:{n:02d}.5",
    "timestamptz": lambda n, form: f"2024-01-01 00:00:{n:02d}+00",
    "timestamp_ns": lambda n, form: f"2024-01-01 00:00:00.0000000{n + 10:02d}",
    "text": lambda n, form: "abcdefghijklmnopqrstuvwxyzäöü"[n] + "_",
}


@contextmanager
def sqlite_table(declared: str, tmp_path: Path, url: str) -> Iterator[tuple[Execute, Source]]:
    path = tmp_path / "t.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"CREATE TABLE t (id INTEGER, c {declared}, v INTEGER)")
        yield connection.execute, SQLiteSource(path=str(path))


@contextmanager
def duckdb_table(declared: str, tmp_path: Path, url: str) -> Iterator[tuple[Execute, Source]]:
    path = tmp_path / "t.duckdb"
    path.unlink(missing_ok=True)

    def execute(statement: str, parameters: Any = ()) -> None:
        with closing(duckdb.connect(path)) as connection:
            connection.execute(statement, parameters)

    execute(f"CREATE TABLE t (id INTEGER, c {declared}, v INTEGER)")
    yield execute, DuckDBSource(path=str(path))


@contextmanager
def postgres_table(declared: str, tmp_path: Path, url: str) -> Iterator[tuple[Execute, Source]]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute(f"CREATE TABLE t (id INTEGER, c {declared}, v INTEGER)")
        yield (
            lambda statement, parameters=(): connection.execute(statement.replace("?", "%s"), parameters),
            PostgresSource(url=url),
        )


TABLES = [
    (sqlite_table, "INTEGER", "integer"), (sqlite_table, "TEXT", "times in text"),
    (sqlite_table, "REAL", "double"), (sqlite_table, "TEXT", "numbers in text"), (sqlite_table, "", "text"),
    (sqlite_table, "NUMERIC", "decimal"),
    (duckdb_table, "BIGINT", "integer"), (duckdb_table, "TIMESTAMP_NS", "timestamp_ns"),
    (duckdb_table, "DOUBLE", "double"), (duckdb_table, "DATE", "date"),
    (duckdb_table, "VARCHAR", "times in text"), (duckdb_table, "DECIMAL(9, 2)", "decimal"),
    (duckdb_table, "HUGEINT", "integer"),
    (postgres_table, "bigint", "integer"), (postgres_table, "date", "date"),
    (postgres_table, "numeric", "decimal"),
    (postgres_table, "timestamptz", "timestamptz"), (postgres_table, "text", "times in text"),
    (postgres_table, "text", "numbers in text"), (postgres_table, "text", "text"),
]  # fmt: skip

# Of each row that is written: how far its cursor is from the highest (None: it has none), and its form.
WRITES = st.lists(st.tuples(st.none() | st.integers(-3, 2), st.integers(0, 9)), max_size=6)


def _moment(step: int | None, top: int, lookback: int) -> int | None:
    """Return the moment of a row that comes when `top` is the highest: late only within the lookback."""
    return None if step is None else max(top + max(step, -lookback), 0)


@pytest.mark.parametrize(("table", "declared", "form"), TABLES)
@pytest.mark.parametrize("lookback", [0, 3])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(WRITES, min_size=2, max_size=5))
def test_every_row_is_appended_once(
    table: Any, declared: str, form: str, lookback: int, runs: Any, tmp_path: Path, postgres_url: str
) -> None:
    if form == "text" and lookback:
        pytest.skip("text has no distances to look back")
    write = FORMS[form]
    unit = {"date": 86_400, "double": 0.25, "timestamp_ns": 1}.get(form, 1)
    late = 0 if form == "timestamp_ns" else lookback  # a lookback counts whole microseconds or more
    written: list[int] = []
    delivered: Counter[int] = Counter()
    top, cursor = 0, None
    with table(declared, tmp_path, postgres_url) as (execute, source):
        for writes in [*runs, []]:
            for step, variant in writes:
                moment = _moment(step, top, late if cursor else 0)
                # Twice the same row: no key tells them apart.
                for _ in range(1 + variant % 2):
                    execute(
                        "INSERT INTO t VALUES (?, ?, 0)",
                        [len(written) // 3, None if moment is None else write(moment, variant)],
                    )
                    written.append(len(written) // 3)
                top = top if moment is None else max(top, moment)
            found = Read(source, "t", "c", cursor, lookback=lookback * unit or None)
            cursor = found.cursor
            delivered.update(found.column("id"))

    assert delivered == Counter(written)


@pytest.mark.parametrize(("table", "declared", "form"), TABLES)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(WRITES, min_size=2, max_size=5))
def test_every_row_is_merged_with_its_newest_values(
    table: Any, declared: str, form: str, runs: Any, tmp_path: Path, postgres_url: str
) -> None:
    write, merged, expected = FORMS[form], dict[int, int](), dict[int, int]()
    top, cursor, version = 0, None, 0
    with table(declared, tmp_path, postgres_url) as (execute, source):
        for writes in [*runs, []]:
            for step, variant in writes:
                moment, version = _moment(step, top, 0), version + 1
                value = None if moment is None else write(moment, variant)
                if variant in expected:
                    execute("UPDATE t SET c = ?, v = ? WHERE id = ?", [value, version, variant])
                else:
                    execute("INSERT INTO t VALUES (?, ?, ?)", [variant, value, version])
                expected[variant] = version
                top = top if moment is None else max(top, moment)
            found = Read(source, "t", "c", cursor, merges=True)
            cursor = found.cursor
            merged |= dict(zip(found.column("id"), found.column("v"), strict=True))

    assert merged == expected


def test_a_text_cursor_goes_on_where_every_row_has_lost_it(tmp_path: Path) -> None:
    # SQLite knows a column's type by its values, and nulls have none.
    with sqlite_table("", tmp_path, "") as (execute, source):
        execute("INSERT INTO t VALUES (1, 'a', 0)")
        first = Read(source, "t", "c", merges=True)
        execute("UPDATE t SET c = NULL, v = 1")
        second = Read(source, "t", "c", first.cursor, merges=True)
        execute("INSERT INTO t VALUES (2, 'b', 0)")
        third = Read(source, "t", "c", second.cursor, merges=True)

    assert [second.rows, third.rows] == [[{"id": 1, "c": None, "v": 1}], [{"id": 2, "c": "b", "v": 0}]]
