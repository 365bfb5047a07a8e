"""Reading a DuckDB table in one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import Checkpoint, Cursor, ReadRequest, RunWarning, SyncMode, Unreadable
from headrace.connectors.duckdb.catalog import columns
from headrace.connectors.duckdb.projection import expressions, noted
from headrace.connectors.kit.sql.batches import first_batches
from headrace.connectors.kit.sql.boundary import CursorColumn, Reach, column_named, filtered, reach
from headrace.connectors.kit.sql.names import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_NULLED = "Rows with an infinite date or time are null there."
_ROWS = 65_536
_TIMES = frozenset(
    {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"}
)
_INFINITE = _TIMES | {"FLOAT", "DOUBLE"}
_ORDERED = _INFINITE | {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "DECIMAL", "VARCHAR", "UUID", "ENUM",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A table or a view."""

    schema: str
    name: str
    key: tuple[str, ...]


def relations(connection: DuckDBPyConnection) -> list[Relation]:
    """List every table and view, ordered by name."""
    rows = connection.execute(
        "SELECT t.table_schema, t.table_name, k.constraint_column_names"
        " FROM information_schema.tables t LEFT JOIN duckdb_constraints() k ON k.schema_name = t.table_schema"
        " AND k.table_name = t.table_name AND k.database_name = t.table_catalog"
        " AND k.constraint_type = 'PRIMARY KEY'"
        " WHERE t.table_catalog = current_database() ORDER BY 1, 2"
    ).fetchall()
    return [Relation(schema=schema, name=name, key=tuple(key or ())) for schema, name, key in rows]


def find_relation(connection: DuckDBPyConnection, stream: str) -> Relation:
    """Return the relation that a stream's name means; without a schema it lies in `main`."""
    found = {f"{relation.schema}.{relation.name}": relation for relation in relations(connection)}
    relation = found.get(stream) or found.get(f"main.{stream}")
    if relation is None:
        raise Unreadable(f"There is no table or view {stream!r}.")
    return relation


def read_table(connection: DuckDBPyConnection, request: ReadRequest) -> Iterator[pa.RecordBatch | Checkpoint]:
    """Yield the table's batches after the cursor, in its order where the run is incremental.

    An empty table yields one batch without rows. Infinite dates and times become null, and are counted.
    """
    relation = find_relation(connection, request.stream)
    found = columns(connection, relation.schema, relation.name)
    source = f"{quoted(relation.schema, relation.name)} AS headrace_source"
    column = _cursor_column(found, request) if request.sync_mode is SyncMode.INCREMENTAL else None
    wanted = Reach() if column is None else reach(column, request, _counter(connection, source))
    condition = f" WHERE {wanted.condition}" if wanted.condition else ""
    order = f" ORDER BY {wanted.order} NULLS FIRST" if wanted.order else ""
    columns_sql, infinite = expressions(connection, list(found), source, condition)
    flag = f"coalesce({' OR '.join(infinite) or 'false'}, false)"
    values = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in zip(found, columns_sql, strict=True))
    query = f"SELECT {values}, {flag} FROM {source}{condition}{order}"  # noqa: S608 - quoted names
    batches = _batches(connection, query, list(found.values()), request)
    batches = first_batches(batches, request.max_iterations)
    yield from batches if column is None else filtered(batches, column, request, wanted)


def _batches(
    connection: DuckDBPyConnection, query: str, declared: list[str], request: ReadRequest
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    reader = connection.sql(query).to_arrow_reader(_ROWS)
    fields = list(reader.schema)[:-1]
    schema = pa.schema([noted(field, kind) for field, kind in zip(fields, declared, strict=True)])
    read = False
    while (batch := _next(reader)) is not None:
        if special := batch.column(batch.num_columns - 1).true_count:
            request.warn(RunWarning(code="source.values_nulled", detail=_NULLED, count=special))
        read = True
        yield pa.RecordBatch.from_arrays(batch.columns[:-1], schema=schema)
    if not read:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    import pyarrow as pa

    try:
        return next((batch for batch in reader if batch.num_rows), None)
    except (OSError, pa.ArrowException) as error:
        raise Unreadable(f"DuckDB: {str(error).partition(chr(10))[0]}") from None


def _counter(connection: DuckDBPyConnection, source: str) -> Callable[[str], int]:
    def count(condition: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {source} WHERE {condition}").fetchall()[0][0])  # noqa: S608

    return count


def _cursor_column(found: dict[str, str], request: ReadRequest) -> CursorColumn:
    declared: str = column_named(found, request)
    name, kind = f"headrace_source.{quoted(str(request.cursor_field))}", declared.partition("(")[0]
    if kind not in _ORDERED:
        raise Unreadable(f"Column {request.cursor_field!r} is {declared}, which cannot serve as a cursor.")
    is_text = kind in ("VARCHAR", "ENUM")
    placeless = f"{name} IS NULL OR NOT isfinite({name})" if kind in _INFINITE else f"{name} IS NULL"

    def constant(cursor: Cursor) -> str:
        return f"CAST({literal(str(cursor))} AS {'VARCHAR' if is_text else declared})"

    return CursorColumn(
        name=str(request.cursor_field),
        value=f"CAST({name} AS VARCHAR) COLLATE C" if is_text else name,
        is_text=is_text,
        placeless=placeless,
        constant=constant,
    )
