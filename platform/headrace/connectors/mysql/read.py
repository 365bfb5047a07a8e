"""Reading a MySQL table in one snapshot, row by row from the server, as batches of a known schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pymysql.cursors import SSCursor

from headrace.connectors import Checkpoint, Cursor, ReadRequest, RunWarning, SyncMode, Unreadable
from headrace.connectors.kit.sql.batches import first_batches
from headrace.connectors.kit.sql.boundary import CursorColumn, Reach, column_named, filtered, reach
from headrace.connectors.kit.sql.names import literal, quoted
from headrace.connectors.mysql.catalog import Column, Table, columns, tables
from headrace.connectors.mysql.connection import execute, fetch, waiting
from headrace.connectors.mysql.projection import Projected, projected

if TYPE_CHECKING:
    from pymysql.connections import Connection

_FETCHED = 500  # rows that are held as Python's values
_ROWS, _BYTES = 20_000, 16 * 1024 * 1024  # of a batch: whichever it reaches first
_NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "decimal"})
_MOMENTS = frozenset({"date", "datetime", "timestamp"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "uuid"})
_NUMBER = re.compile(r"-?\d{1,65}(\.\d{1,38})?")


class _Rows(SSCursor):  # type: ignore[misc]
    """A query's rows as they come, undecoded but for text."""

    connection: Any

    def abandon(self) -> None:
        """Give up the rows that are still to come, and with them the connection: they cannot be stopped."""
        if self._result is not None:
            self._result.unbuffered_active = False
        self.connection.close()
        self.connection = None


def find_table(connection: Connection, stream: str) -> Table:
    """Return the table or view of that name. Raises Unreadable."""
    found = tables(connection, stream)
    if not found:
        raise Unreadable(f"There is no readable table or view {stream!r}.")
    return found[0]


def read_table(connection: Connection, request: ReadRequest) -> Iterator[pa.RecordBatch | Checkpoint]:
    """Yield the table's batches after the cursor, in its order where the run is incremental.

    All comes from one snapshot where the engine has them (InnoDB). An empty table yields one batch without
    rows.
    """
    execute(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    execute(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    table = find_table(connection, request.stream)
    found = columns(connection, table.name)
    readers = [projected(column) for column in found]
    column = _cursor_column(found, readers, request) if request.sync_mode is SyncMode.INCREMENTAL else None
    wanted = Reach() if column is None else reach(column, request, _counter(connection, table))
    condition = f" WHERE {wanted.condition}" if wanted.condition else ""
    order = f" ORDER BY {wanted.order}" if wanted.order else ""
    _say_what_is_not_promised(table, request)
    batches = _batches(connection, readers, f"{quoted(table.name)}{condition}{order}", request)
    batches = first_batches(batches, request.max_iterations)
    yield from batches if column is None else filtered(batches, column, request, wanted)


def _say_what_is_not_promised(table: Table, request: ReadRequest) -> None:
    if not table.is_view and table.engine.lower() != "innodb":
        detail = (
            f"{request.stream} has the engine {table.engine}, which keeps no snapshot: rows that change "
            "while they are read may be missed or read twice."
        )
        request.warn(RunWarning(code="mysql.no_snapshot", detail=detail))
    if request.cursor is not None and not request.lookback:
        request.log.info(
            "A transaction that commits after a run, with a lower cursor than the run has seen, is missed. "
            "Set `lookback` to the time that it takes."
        )


def _counter(connection: Connection, table: Table) -> Callable[[str], int]:
    def count(condition: str) -> int:
        query = f"SELECT count(*) FROM {quoted(table.name)} WHERE {condition}"  # noqa: S608 - quoted names
        return int(fetch(connection, query)[0][0])

    return count


def _cursor_column(found: list[Column], readers: list[Projected], request: ReadRequest) -> CursorColumn:
    column: Column = column_named({column.name: column for column in found}, request)
    if column.type not in _NUMBERS | _MOMENTS | _TEXTS:
        raise Unreadable(f"Column {column.name!r} is {column.declared}, which cannot serve as a cursor.")
    name, is_text = quoted(column.name), column.type in _TEXTS
    special = next(reader.special for reader in readers if reader.field.name == column.name)
    placeless = [f"{name} IS NULL"] if column.nullable else []
    if special:
        placeless.append(special)
    return CursorColumn(
        name=column.name,
        value=f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)" if is_text else name,
        is_text=is_text,
        placeless=" OR ".join(placeless) or None,
        constant=lambda cursor: _constant(column, cursor, request),
    )


def _constant(column: Column, cursor: Cursor, request: ReadRequest) -> str:
    text = "" if isinstance(cursor, bool) or not isinstance(cursor, int | float | str) else str(cursor)
    if column.type in _NUMBERS and _NUMBER.fullmatch(text):
        return text  # bare: a quoted one would be compared as a double
    if column.type in _MOMENTS and text and "\0" not in text:
        return literal(text.removesuffix("Z").removesuffix("+00:00"))
    if column.type in _TEXTS and isinstance(cursor, str):
        return f"CAST(CONVERT({literal(text)} USING utf8mb4) AS BINARY)"
    raise Unreadable(f"The stored cursor of {request.stream!r} is not a value of column {column.name!r}.")


def _batches(
    connection: Connection, readers: list[Projected], source: str, request: ReadRequest
) -> Iterator[pa.RecordBatch]:
    """Yield typed batches; the last column of what is read says whether a row holds a special value."""
    schema = pa.schema([reader.field for reader in readers])
    specials = " OR ".join(reader.special for reader in readers if reader.special) or "FALSE"
    expressions = ", ".join([*(reader.expression for reader in readers), f"({specials})"])
    names = ", ".join(repr(reader.field.name) for reader in readers if reader.special)
    detail = f"Rows with a date that does not exist in {names} are null there."
    held: list[pa.RecordBatch] = []
    yielded = False
    for rows in _pages(connection, f"SELECT {expressions} FROM {source}"):  # noqa: S608 - quoted names
        *values, flags = zip(*rows, strict=True)
        if special := sum(flag == "1" for flag in flags):
            request.warn(RunWarning(code="source.values_nulled", detail=detail, count=special))
        held.append(_typed(values, readers, schema))
        if sum(batch.num_rows for batch in held) >= _ROWS or sum(batch.nbytes for batch in held) >= _BYTES:
            yield pa.concat_batches(held)
            held, yielded = [], True
    if held or not yielded:
        yield pa.concat_batches(held) if held else pa.RecordBatch.from_pylist([], schema=schema)


def _fetched(connection: Connection, cursor: _Rows) -> tuple[tuple[Any, ...], ...]:
    with waiting(connection):
        return tuple(cursor.fetchmany(_FETCHED))


def _pages(connection: Connection, query: str) -> Iterator[tuple[tuple[Any, ...], ...]]:
    connection.decoders = {}  # values stay the text that the server sends: Arrow casts whole columns
    cursor = connection.cursor(_Rows)
    ended = False
    try:
        with waiting(connection):
            cursor.execute(query)
        while rows := _fetched(connection, cursor):
            yield rows
        ended = True
    finally:
        if not ended:
            cursor.abandon()


def _typed(values: list[tuple[Any, ...]], readers: list[Projected], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [_array(given, reader) for given, reader in zip(values, readers, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: tuple[Any, ...], reader: Projected) -> pa.Array:
    """Return a column of the promised type. Raises Unreadable naming the column."""
    field = reader.field
    try:
        if pa.types.is_binary(field.type):
            return pa.array(values, pa.binary())
        array = pa.array(values, pa.string())
        return (array.cast(reader.via) if reader.via else array).cast(field.type, safe=reader.via is None)
    except (pa.ArrowException, TypeError, UnicodeError):
        raise Unreadable(f"Column {field.name!r} holds a value that is no {field.type}.") from None
