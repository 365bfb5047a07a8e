"""Reading a SQLite table as it is: a value's type is its own there, whatever its column declares."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.connectors import Checkpoint, Cursor, ReadRequest, SyncMode, Unreadable
from headrace.connectors.kit.sql.boundary import CursorColumn, Reach, column_named, not_below, reach
from headrace.connectors.kit.sql.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 10_000
_CODE_POINTS = "headrace_code_points"
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
    connection.execute("BEGIN")  # several statements, one snapshot
    found = columns(connection, request.stream)
    if not found:
        raise Unreadable(f"There is no table or view {request.stream!r}.")
    column = _cursor_column(connection, found, request) if request.sync_mode is SyncMode.INCREMENTAL else None
    wanted = Reach() if column is None else reach(column, request, _counter(connection, request))
    condition = f" WHERE {wanted.condition}" if wanted.condition else ""
    order = f" ORDER BY {wanted.order}" if wanted.order else ""
    listed = ", ".join(quoted(column.name) for column in found)
    rows = connection.execute(f"SELECT {listed} FROM {quoted(request.stream)}{condition}{order}")  # noqa: S608
    number = 0
    while number != request.max_iterations and (page := rows.fetchmany(_ROWS)):
        number += 1
        records = [dict(zip((column.name for column in found), row, strict=True)) for row in page]
        yield not_below(records, request, wanted)
    if not number:
        yield _empty(found)


def _counter(connection: sqlite3.Connection, request: ReadRequest) -> Callable[[str], int]:
    def count(condition: str) -> int:
        query = f"SELECT count(*) FROM {quoted(request.stream)} WHERE {condition}"  # noqa: S608 - quoted names
        return int(connection.execute(query).fetchone()[0])

    return count


def _cursor_column(connection: sqlite3.Connection, found: list[Column], request: ReadRequest) -> CursorColumn:
    column: Column = column_named({column.name: column for column in found}, request)
    name = quoted(column.name)
    kinds = _storage(connection, request.stream, name)
    if "blob" in kinds:
        raise Unreadable(f"Column {column.name!r} holds bytes, which cannot serve as a cursor.")
    if len(kinds) > 1 and request.cursor_type in (None, "text", "uuid"):
        raise Unreadable(
            f"Column {column.name!r} holds numbers and texts, which SQLite keeps apart: set cursor_type to "
            "'integer', 'decimal' or 'timestamp', or sync by another column."
        )

    def constant(cursor: Cursor) -> str:
        if isinstance(cursor, bool) or not isinstance(cursor, int | float | str):
            raise Unreadable(f"The stored cursor of {request.stream!r} is not a number or a text.")
        # The bytes of a text are those of the file's encoding.
        return f"CAST(x'{cursor.encode(codec).hex()}' AS TEXT)" if isinstance(cursor, str) else repr(cursor)

    codec = _codec(connection)
    return CursorColumn(
        name=column.name,
        value=f"{name} COLLATE {_CODE_POINTS if codec != 'utf-8' else 'BINARY'}",
        is_text="text" in kinds or (not kinds and request.cursor_type == "text"),  # all null by now
        placeless=f"{name} IS NULL OR {name} = -9e999",  # the other infinity is above every cursor
        constant=constant,
    )


def _codec(connection: sqlite3.Connection) -> str:
    """Return the file's encoding of text, and give SQLite an order by code points where its bytes have none.

    Of UTF-8 the order of bytes is that of code points; of UTF-16 it is not.
    """
    codec = str(connection.execute("PRAGMA encoding").fetchone()[0]).lower()
    if codec != "utf-8":
        connection.create_collation(_CODE_POINTS, lambda one, other: (one > other) - (one < other))
    return codec


def _storage(connection: sqlite3.Connection, table: str, name: str) -> set[str]:
    """Return the classes that the column's values are stored as: "number", "text" and "blob".

    SQLite orders by class first, so that the lowest and the highest value tell; an index gives both at once.
    """
    ends = [
        f"SELECT typeof(v) FROM (SELECT {end}({name} COLLATE BINARY) AS v FROM {quoted(table)})"  # noqa: S608
        for end in ("min", "max")
    ]
    found = {connection.execute(query).fetchone()[0] for query in ends} - {"null"}
    return {"number" if kind in ("integer", "real") else kind for kind in found}


def _empty(found: list[Column]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = pa.schema([(column.name, getattr(pa, _ARROW[column.affinity])()) for column in found])
    return pa.RecordBatch.from_pylist([], schema=schema)
