"""Which SQL hands a DuckDB column to Arrow without losing a value, and what its field notes.

Infinite dates and times have no place in Arrow. In a column of their own they become null; lists and objects
that may hold one become JSON. What Arrow or Parquet has no type for is text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.connectors.kit.arrow.types import TYPE_KEY
from headrace.connectors.kit.sql.names import quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

_EXACT = frozenset(
    {"boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
     "float", "double", "decimal", "varchar", "blob", "uuid", "time", "time_ns", "timestamptz_ns"}
)  # fmt: skip
_MOMENTS = frozenset(
    {"date", "timestamp", "timestamp with time zone", "timestamp_ns", "timestamp_ms",
     "timestamp_s"}
)  # fmt: skip
_NESTED = frozenset({"list", "array", "struct", "map"})
_RESTORED = {"UUID": b"uuid", "JSON": b"json"}  # what PostgreSQL and DuckDB have types for


def expressions(
    connection: DuckDBPyConnection, names: list[str], source: str, condition: str
) -> tuple[list[str], list[str]]:
    """Return the SQL of each column, and the SQL that finds rows with an infinite date or time.

    Looks at the rows that meet the condition where only they tell whether Arrow can hold a column.
    """
    types = connection.sql(f"SELECT {', '.join(map(quoted, names))} FROM {source} LIMIT 0").types  # noqa: S608
    values, infinite = [], []
    for name, kind in zip(names, types, strict=True):
        column = quoted(name)
        if kind.id in _MOMENTS:
            infinite.append(f"NOT isfinite({column})")
            values.append(f"CASE WHEN isfinite({column}) THEN {column} END")
        elif kind.id in _NESTED:
            as_it_is = _is_exact(kind) and not (
                _has_moment(kind) and _is_infinite(connection, column, source, condition)
            )
            values.append(column if as_it_is else f"to_json({column})::VARCHAR")
        else:
            values.append(column if kind.id in _EXACT else f"{column}::VARCHAR")
    return values, infinite


def noted(field: pa.Field, declared: str) -> pa.Field:
    """Note in a column's field what its text is in DuckDB."""
    restored = _RESTORED.get(declared)
    return field.with_metadata({TYPE_KEY: restored}) if restored else field


def _is_exact(kind: DuckDBPyType) -> bool:
    return kind.id in _EXACT | _MOMENTS or (kind.id in _NESTED and all(map(_is_exact, _inner(kind))))


def _has_moment(kind: DuckDBPyType) -> bool:
    return kind.id in _MOMENTS or (kind.id in _NESTED and any(map(_has_moment, _inner(kind))))


def _inner(kind: DuckDBPyType) -> list[DuckDBPyType]:
    """Return the types within a type, without the size that an array has beside them."""
    return [child for _, child in kind.children if not isinstance(child, int | list)]


def _is_infinite(connection: DuckDBPyConnection, column: str, source: str, condition: str) -> bool:
    """Whether a date or time within the column may be infinite; a text that says so counts as well."""
    says = f"contains(to_json({column})::VARCHAR, 'infinity')"
    query = f"SELECT coalesce(bool_or({says}), false) FROM {source}{condition}"  # noqa: S608 - quoted names
    return bool(connection.execute(query).fetchall()[0][0])
