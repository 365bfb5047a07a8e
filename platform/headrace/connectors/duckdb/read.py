"""Reading a DuckDB table in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unreadable
from headrace.connectors.duckdb.catalog import columns
from headrace.connectors.kit.sql.batches import first_batches, with_checkpoint
from headrace.connectors.kit.sql.names import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_ROWS = 65_536
_EXACT = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
     "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "UUID", "JSON"}
)  # fmt: skip
_FINITE = {"DATE": "DATE", "TIMESTAMP": "TIMESTAMP", "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
_NESTED = ("STRUCT", "MAP")


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
    source = f"{quoted(relation.schema, relation.name)} AS headrace_source{_position(found, request)}"
    infinite = [f"NOT isfinite({quoted(name)})" for name, declared in found.items() if declared in _FINITE]
    flag = f"coalesce({' OR '.join(infinite) or 'false'}, false)"
    values = ", ".join(f"{_value(name, declared)} AS {quoted(name)}" for name, declared in found.items())
    query = f"SELECT {values}, {flag} FROM {source}"  # noqa: S608 - quoted names
    batches = _batches(connection, query, request)
    if request.sync_mode is SyncMode.INCREMENTAL and request.cursor_field is not None:
        yield from with_checkpoint(batches, request.cursor_field, request)
    else:
        yield from first_batches(batches, request.max_iterations)


def _batches(connection: DuckDBPyConnection, query: str, request: ReadRequest) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    special = 0
    reader = connection.sql(query).to_arrow_reader(_ROWS)
    schema = pa.schema(list(reader.schema)[:-1])
    read = False
    while (batch := _next(reader)) is not None:
        special += batch.column(batch.num_columns - 1).true_count
        read = True
        yield pa.RecordBatch.from_arrays(batch.columns[:-1], schema=schema)
    if not read:
        yield pa.RecordBatch.from_pylist([], schema=schema)
    if special:
        request.log.warning("%d rows hold an infinite date or time: null there", special)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    import pyarrow as pa

    try:
        return next((batch for batch in reader if batch.num_rows), None)
    except (OSError, pa.ArrowException) as error:
        raise Unreadable(f"DuckDB: {str(error).partition(chr(10))[0]}") from None


def _position(found: dict[str, str], request: ReadRequest) -> str:
    if request.sync_mode is not SyncMode.INCREMENTAL:
        return ""
    name = request.cursor_field
    if name not in found:
        raise Unreadable(f"{request.stream} has no column {name!r} to use as its cursor.")
    column, declared = f"headrace_source.{quoted(name)}", found[name]
    order = f" ORDER BY {column} NULLS FIRST"
    if request.cursor is None:
        return order
    return f" WHERE {column} > CAST({literal(str(request.cursor))} AS {declared}){order}"


def _value(name: str, declared: str) -> str:
    """Return the SQL that hands a column to Arrow exactly; as text what Arrow or Parquet has no place for."""
    column, kind = quoted(name), declared.partition("(")[0]
    if kind in _EXACT or declared in ("TIMESTAMP_NS", "TIMESTAMP_MS", "TIME"):
        return column
    if declared in _FINITE:
        return f"CASE WHEN isfinite({column}) THEN {column} END"
    if declared.endswith("]") and declared.partition("[")[0].partition("(")[0] in _EXACT:
        return f"{column}::{declared.partition('[')[0]}[]" if declared.count("[") == 1 else column
    if declared.endswith("]") or kind in _NESTED:
        return f"to_json({column})::VARCHAR"
    return f"{column}::VARCHAR"
