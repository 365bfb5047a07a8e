"""Reading a PostgreSQL table in one snapshot, as record batches of a schema known from the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.connectors import Checkpoint, Cursor, ReadRequest, RunWarning, SyncMode, Unreadable
from headrace.connectors.contract.warnings import Warn
from headrace.connectors.kit.network.limits import DatabaseLimits
from headrace.connectors.kit.sql.batches import first_batches
from headrace.connectors.kit.sql.boundary import CursorColumn, column_named, filtered
from headrace.connectors.kit.sql.names import literal, quoted
from headrace.connectors.postgres.catalog import Column, Table, columns, find_tables
from headrace.connectors.postgres.connection import bound, execute, fetch, settle, stream
from headrace.connectors.postgres.incremental import Plan, planned, table_facts
from headrace.connectors.postgres.projection import Projected, projected

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

_ORDERED = frozenset(
    {"int2", "int4", "int8", "oid", "numeric", "text", "varchar", "bpchar", "uuid", "date", "timestamp",
     "timestamptz"}
)  # fmt: skip
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_SPECIAL = {
    "date": "'infinity', '-infinity'", "timestamp": "'infinity', '-infinity'",
    "timestamptz": "'infinity', '-infinity'", "numeric": "'NaN', 'Infinity', '-Infinity'",
}  # fmt: skip
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
    connection: Connection, request: ReadRequest, unbounded: str, limits: DatabaseLimits
) -> Iterator[pa.RecordBatch | Checkpoint]:
    """Yield the table's batches after the cursor, in its order where the run is incremental.

    All comes from one snapshot. An empty table yields one batch without rows. An incremental read ends with
    the snapshot's position, by which the next one finds rows that were committed late.
    """
    told = None
    if request.sync_mode is SyncMode.INCREMENTAL:
        told = table_facts(connection, find_table(connection, request.stream), request)
        connection.rollback()  # the snapshot comes after what was told
    execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    bound(connection, limits)
    settle(connection)
    table = find_table(connection, request.stream)
    found = columns(connection, table.schema, table.name)
    relation = f"{quoted(table.schema, table.name)} AS {_SOURCE}"
    column = _cursor_column(found, request) if request.sync_mode is SyncMode.INCREMENTAL else None
    plan = Plan() if column is None else planned(connection, relation, column, request, told)
    batches = first_batches(
        _planned_batches(connection, found, relation, plan, request, unbounded), request.max_iterations
    )
    yield from batches if column is None else filtered(batches, column, request, plan.reach)
    yield from plan.checkpoints(request)


def _planned_batches(
    connection: Connection,
    found: list[Column],
    relation: str,
    plan: Plan,
    request: ReadRequest,
    unbounded: str,
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    condition = f" WHERE {plan.reach.condition}" if plan.reach.condition else ""
    order = f" ORDER BY {plan.reach.order} NULLS FIRST" if plan.reach.order else ""
    nested = frozenset[str]() if plan.nothing else _nested_arrays(connection, found, relation + condition)
    readers = [projected(column, nested=column.name in nested, unbounded=unbounded) for column in found]
    if plan.nothing:
        yield pa.RecordBatch.from_pylist([], schema=pa.schema([reader.field for reader in readers]))
        return
    yield from _batches(connection, readers, relation + condition + order, plan, request.warn)


def _cursor_column(found: list[Column], request: ReadRequest) -> CursorColumn:
    column: Column = column_named({column.name: column for column in found}, request)
    if column.type not in _ORDERED:
        raise Unreadable(f"Column {column.name!r} is {column.declared}, which cannot serve as a cursor.")
    is_text = column.type in _TEXTS
    # Qualified: alone it would name the column of the result, which may be the text of this one.
    name = f"{_SOURCE}.{quoted(column.name)}"
    placeless = [f"{name} IS NULL"] if column.nullable else []
    if column.type in _SPECIAL:
        placeless.append(f"{name} IN ({_SPECIAL[column.type]})")

    def constant(cursor: Cursor) -> str:
        if isinstance(cursor, bool) or not isinstance(cursor, int | float | str):
            detail = f"The stored cursor of {request.stream} is not a value of column {column.name!r}."
            raise Unreadable(detail)
        return f"{literal(str(cursor).replace(chr(0), ''))}::{'text' if is_text else column.declared}"

    return CursorColumn(
        name=column.name,
        value=f'{name}::text COLLATE "C"' if is_text else name,
        is_text=is_text,
        placeless=" OR ".join(placeless) or None,
        constant=constant,
    )


def _nested_arrays(connection: Connection, found: list[Column], source: str) -> frozenset[str]:
    """Return the array columns that hold a value of several dimensions; the catalog does not know."""
    arrays = [column.name for column in found if column.element]
    if not arrays:
        return frozenset()
    checks = ", ".join(f"coalesce(bool_or(array_ndims({quoted(name)}) > 1), false)" for name in arrays)
    (answers,) = fetch(connection, f"SELECT {checks} FROM {source}")  # noqa: S608 - quoted names
    return frozenset(name for name, nested in zip(arrays, answers, strict=True) if nested)


def _batches(
    connection: Connection, readers: list[Projected], source: str, plan: Plan, warn: Warn
) -> Iterator[pa.RecordBatch]:
    """Yield typed batches. Two more columns are read: is a value special, and which transaction wrote it."""
    import pyarrow as pa

    schema = pa.schema([reader.field for reader in readers])
    specials = [reader.special for reader in readers if reader.special]
    expressions = [
        *(reader.expression for reader in readers),
        f"({' OR '.join(specials) or 'false'}) IS TRUE",
        *([plan.transaction] if plan.transaction else []),
    ]
    names = ", ".join(repr(reader.field.name) for reader in readers if reader.special)
    detail = f"Rows with infinity, NaN, 24:00 or too late a time in {names} are null there."
    rows = 0
    query = f"SELECT {', '.join(expressions)} FROM {source}"  # noqa: S608 - quoted names
    for batch in stream(connection, query, Unreadable):
        rows += batch.num_rows
        if special := batch.column(len(readers)).true_count:
            warn(RunWarning(code="source.values_nulled", detail=detail, count=special))
        if plan.transaction:
            plan.transactions.update(batch.column(len(readers) + 1).drop_null().unique().to_pylist())
        if batch.num_rows:
            yield _typed(batch, schema)
    if not rows:
        yield pa.RecordBatch.from_pylist([], schema=schema)


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
