"""Reading a PostgreSQL table in one snapshot, as record batches of a schema known from the catalog."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unreadable
from headrace.connectors.kit.sql.batches import first_batches, with_checkpoint
from headrace.connectors.kit.sql.names import literal, quoted
from headrace.connectors.postgres.catalog import Column, Table, columns, find_tables
from headrace.connectors.postgres.connection import execute, fetch, stream
from headrace.connectors.postgres.projection import Projected, projected

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

_ORDERED = frozenset(
    {"int2", "int4", "int8", "oid", "numeric", "text", "varchar", "bpchar", "uuid", "date", "timestamp",
     "timestamptz"}
)  # fmt: skip
_SOURCE = "headrace_source"


def find_table(connection: Connection, stream: str) -> Table:
    """Return the one relation that a stream's name means. Raises Unreadable."""
    found = find_tables(connection, stream)
    if not found:
        raise Unreadable(f"There is no readable table or view {stream!r}.")
    meant = [table for table in found if table.stream == stream] or found
    if len(meant) > 1:  # schema "a", table "b.c", and schema "a.b", table "c"
        raise Unreadable(f"{stream!r} is the name of two tables, by where its dots lie.")
    return meant[0]


def read_table(
    connection: Connection, request: ReadRequest, unbounded: str
) -> Iterator[pa.RecordBatch | Checkpoint]:
    """Yield the table's batches after the cursor, in its order where the run is incremental.

    All comes from one snapshot. An empty table yields one batch without rows. Rows whose cursor is null are
    read by the first run alone; a transaction that commits late, with a cursor below one that was already
    read, is missed, as with every cursor that is not a log position.
    """
    execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    execute(connection, "SET LOCAL TimeZone = 'UTC'")
    execute(connection, "SET LOCAL IntervalStyle = 'iso_8601'")
    table = find_table(connection, request.stream)
    found = columns(connection, table.schema, table.name)
    condition, order = _position(found, request)
    relation = f"{quoted(table.schema, table.name)} AS {_SOURCE}"
    nested = _nested_arrays(connection, found, relation + condition)
    readers = [projected(column, nested=column.name in nested, unbounded=unbounded) for column in found]
    batches = _batches(connection, readers, relation + condition + order, request.log)
    if request.sync_mode is SyncMode.INCREMENTAL:
        yield from with_checkpoint(batches, _cursor_column(found, request).name, request)
    else:
        yield from first_batches(batches, request.max_iterations)


def _position(found: list[Column], request: ReadRequest) -> tuple[str, str]:
    """Return the WHERE and ORDER BY of the request; the cursor is a constant, so that rows still stream."""
    if request.sync_mode is not SyncMode.INCREMENTAL:
        return "", ""
    column = _cursor_column(found, request)
    # Qualified: alone it would name the column of the result, which may be the text of this one.
    order = f" ORDER BY {_SOURCE}.{quoted(column.name)} NULLS FIRST"
    if request.cursor is None:
        return "", order
    if isinstance(request.cursor, bool) or not isinstance(request.cursor, int | float | str):
        raise Unreadable(f"The stored cursor of {request.stream} is not a value of column {column.name!r}.")
    constant = literal(str(request.cursor).replace("\0", ""))
    return f" WHERE {quoted(column.name)} > {constant}::{column.declared}", order


def _cursor_column(found: list[Column], request: ReadRequest) -> Column:
    if request.cursor_field is None:
        raise Unreadable("An incremental run needs cursor_field: the column that grows with every change.")
    column = next((column for column in found if column.name == request.cursor_field), None)
    if column is None:
        raise Unreadable(f"{request.stream} has no column {request.cursor_field!r} to use as its cursor.")
    if column.type not in _ORDERED:
        raise Unreadable(f"Column {column.name!r} is {column.declared}, which cannot serve as a cursor.")
    return column


def _nested_arrays(connection: Connection, found: list[Column], source: str) -> frozenset[str]:
    """Return the array columns that hold a value of several dimensions; the catalog does not know."""
    arrays = [column.name for column in found if column.element]
    if not arrays:
        return frozenset()
    checks = ", ".join(f"coalesce(bool_or(array_ndims({quoted(name)}) > 1), false)" for name in arrays)
    (answers,) = fetch(connection, f"SELECT {checks} FROM {source}")  # noqa: S608 - quoted names
    return frozenset(name for name, nested in zip(arrays, answers, strict=True) if nested)


def _batches(
    connection: Connection, readers: list[Projected], source: str, log: logging.Logger
) -> Iterator[pa.RecordBatch]:
    """Yield typed batches; the last column of what is read says whether a row holds a special value."""
    import pyarrow as pa

    schema = pa.schema([reader.field for reader in readers])
    specials = [reader.special for reader in readers if reader.special]
    expressions = [
        *(reader.expression for reader in readers),
        f"({' OR '.join(specials) or 'false'}) IS TRUE",
    ]
    rows = special_rows = 0
    query = f"SELECT {', '.join(expressions)} FROM {source}"  # noqa: S608 - quoted names
    for batch in stream(connection, query, Unreadable):
        rows += batch.num_rows
        special_rows += batch.column(len(readers)).true_count
        if batch.num_rows:
            yield _typed(batch, schema)
    if not rows:
        yield pa.RecordBatch.from_pylist([], schema=schema)
    if special_rows:
        names = ", ".join(repr(reader.field.name) for reader in readers if reader.special)
        log.warning(
            "%d rows hold infinity, NaN, 24:00 or too late a time in %s: null there", special_rows, names
        )


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast what the driver gave to the promised types. Raises Unreadable naming the column."""
    import pyarrow as pa

    arrays = []
    for index, field in enumerate(schema):
        array = batch.column(index)
        if isinstance(array, pa.ExtensionArray):  # the driver's numerics: text
            array = array.storage
        try:
            arrays.append(array.cast(field.type))
        except pa.ArrowInvalid:
            raise Unreadable(f"Column {field.name!r} holds a value that is no {field.type}.") from None
    if not arrays:  # a table of no columns still has rows, which nothing can hold
        return pa.RecordBatch.from_pylist([], schema=schema)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
