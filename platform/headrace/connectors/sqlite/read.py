"""Reading a SQLite table as it is: a value's type is its own there, whatever its column declares."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unreadable
from headrace.connectors.kit.sql.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 10_000
_ARROW = {"INTEGER": "int64", "TEXT": "string", "REAL": "float64", "BLOB": "binary", "NUMERIC": "null"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as declared."""

    name: str
    affinity: str  # INTEGER, TEXT, REAL, BLOB or NUMERIC: what SQLite prefers to store
    key: int  # place in the primary key, from 1; 0: not part of it


def names(connection: sqlite3.Connection) -> list[str]:
    """List every table and view of the database, without SQLite's own."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'"
        " ORDER BY name"
    )
    return [name for (name,) in rows]


def columns(connection: sqlite3.Connection, table: str) -> list[Column]:
    """Return a table's columns in order; none when there is no such table."""
    rows = connection.execute("SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1", [table])
    return [Column(name=name, affinity=affinity(declared), key=key) for name, declared, key in rows]


def affinity(declared: str) -> str:
    """Return a declared type's affinity by https://www.sqlite.org/datatype3.html, section 3.1."""
    text = declared.upper()
    if "INT" in text:
        return "INTEGER"
    if any(word in text for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in text or not text:
        return "BLOB"
    return "REAL" if any(word in text for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def read_table(
    connection: sqlite3.Connection, request: ReadRequest
) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | Checkpoint]:
    """Yield the table's rows after the cursor, in its order where the run is incremental.

    All comes from one snapshot. An empty table yields one batch without rows, typed by the affinities.
    """
    found = columns(connection, request.stream)
    if not found:
        raise Unreadable(f"There is no table or view {request.stream!r}.")
    incremental = request.sync_mode is SyncMode.INCREMENTAL
    place = _cursor_place(found, request) if incremental else None
    condition, parameters = _position(request) if incremental else ("", [])
    listed = ", ".join(quoted(column.name) for column in found)
    rows = connection.execute(f"SELECT {listed} FROM {quoted(request.stream)}{condition}", parameters)  # noqa: S608
    last: Any = request.cursor
    number = 0
    while page := rows.fetchmany(_ROWS):
        number += 1
        ends = number == request.max_iterations
        if ends and place is not None:
            page += _ties(rows, page[-1][place], place)
        yield [dict(zip((column.name for column in found), row, strict=True)) for row in page]
        last = page[-1][place] if place is not None and page[-1][place] is not None else last
        if ends:
            break
    if not number:
        yield _empty(found)
    if place is not None and last is not None:
        yield _checkpoint(last, request)


def _position(request: ReadRequest) -> tuple[str, list[Any]]:
    assert request.cursor_field is not None
    column = quoted(request.cursor_field)
    if request.cursor is None:
        return f" ORDER BY {column}", []
    if isinstance(request.cursor, bool) or not isinstance(request.cursor, int | float | str):
        raise Unreadable(f"The stored cursor of {request.stream!r} is not a number or a text.")
    return f" WHERE {column} > ? ORDER BY {column}", [request.cursor]


def _cursor_place(found: list[Column], request: ReadRequest) -> int:
    names = [column.name for column in found]
    if request.cursor_field is None:
        raise Unreadable("An incremental run needs cursor_field: the column that grows with every change.")
    if request.cursor_field not in names:
        raise Unreadable(f"{request.stream!r} has no column {request.cursor_field!r} to use as its cursor.")
    return names.index(request.cursor_field)


def _ties(rows: sqlite3.Cursor, last: Any, place: int) -> list[Any]:
    """Return the rows that share the last one's cursor: the next run reads only what is greater."""
    ties = []
    for row in rows:
        if row[place] != last:
            break
        ties.append(row)
    return ties


def _checkpoint(last: Any, request: ReadRequest) -> Checkpoint:
    if isinstance(last, bytes):
        raise Unreadable(f"Column {request.cursor_field!r} holds bytes, which cannot serve as a cursor.")
    return Checkpoint(cursor=last)


def _empty(found: list[Column]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = pa.schema([(column.name, getattr(pa, _ARROW[column.affinity])()) for column in found])
    return pa.RecordBatch.from_pylist([], schema=schema)
