"""Loading a run's output into a DuckDB table, in one transaction, by DuckDB's own reader of Parquet.

A table that is replaced is made anew: what hung on it, such as an index, is not kept; views go on. One whose
schema is frozen is emptied and refilled. Nothing is rounded: where the types differ, every value has to
survive the way there and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.connectors import LoadRequest, Rejected, SchemaConflict, SchemaContract, cursor_text
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS, TYPE_KEY
from headrace.connectors.kit.sql.loads import (
    LOADS,
    check_addable,
    check_alterable,
    check_columns,
    check_key,
    unfit,
)
from headrace.connectors.kit.sql.names import listed, literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_STAGE = "temp.headrace_stage"
_STREAMING_MEMORY = "256MB"
_ORDINAL = "file_row_number"  # DuckDB's name for a row's place in its file
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
            "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_FLOATS = ("FLOAT", "DOUBLE")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
# What is written exactly as text: the column becomes text where text comes, since parsing would guess.
_WRITTEN = (*_NUMBERS, *_MOMENTS, "BOOLEAN", "TIME", "TIMESTAMP WITH TIME ZONE")
_DURATIONS = {"s": "to_seconds", "ms": "to_milliseconds", "us": "to_microseconds"}


def load(connection: DuckDBPyConnection, schema: str, table: str, request: LoadRequest) -> None:
    """Load the output and note it, then commit; a load that was committed before is not done again."""
    names = request.output.schema.names
    check_columns(names)
    target = quoted(schema, table)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {quoted(schema, LOADS)} (pipeline_id VARCHAR, load_id VARCHAR,"
        " table_name VARCHAR, cursor VARCHAR, rows BIGINT, loaded_at TIMESTAMPTZ)"
    )
    done = f"SELECT 1 FROM {quoted(schema, LOADS)} WHERE pipeline_id = ? AND load_id = ?"  # noqa: S608
    if connection.execute(done, [request.pipeline_id, request.load_id]).fetchall():
        request.log.info("This load was committed before; nothing is loaded twice.")
        return
    held = columns(connection, schema, table)
    if not names:
        if held and request.disposition == "replace":
            connection.execute(f"DELETE FROM {target}")  # noqa: S608 - quoted names
    elif not held or (request.disposition == "replace" and request.schema_contract != "freeze"):
        if request.disposition != "merge":  # nothing is sorted: more memory would only be a cache
            connection.execute(f"SET memory_limit = '{_STREAMING_MEMORY}'")
        connection.execute(f"CREATE OR REPLACE TABLE {target} AS {_rows(connection, request)}")
    else:
        _add(connection, target, held, request)
    _note(connection, schema, table, request)
    request.progress(request.output.rows)
    request.before_commit()
    connection.execute("COMMIT")


def columns(connection: DuckDBPyConnection, schema: str, table: str) -> dict[str, str]:
    """Return a table's columns and their types, in order; none when there is no such table."""
    rows = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"
        " AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY column_index",
        [schema, table],
    ).fetchall()
    return dict(rows)


def _rows(connection: DuckDBPyConnection, request: LoadRequest) -> str:
    """Return the query of the rows to load: for a merge, of each key's last row."""
    path = literal(str(request.output.path))
    values = ", ".join(f"{_value(field)} AS {quoted(field.name)}" for field in request.output.schema)
    if request.disposition != "merge":
        return f"SELECT {values} FROM read_parquet({path})"  # noqa: S608 - quoted names
    key = request.primary_key
    check_key(key, request.output.schema.names)
    source = f"read_parquet({path}, {_ORDINAL} = true)"
    missing = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    if _any(connection, source, missing):
        raise Rejected(f"A row has no value in its primary key ({', '.join(key)}).")
    place = f"row_number() OVER (PARTITION BY {listed(key)} ORDER BY {_ORDINAL} DESC)"
    return f"SELECT {values} FROM {source} QUALIFY {place} = 1"  # noqa: S608 - quoted names


def _value(field: pa.Field) -> str:
    """Return the SQL that reads a field from Parquet as what it was in Arrow, or in PostgreSQL."""
    import pyarrow as pa

    name, declared = quoted(field.name), (field.metadata or {}).get(TYPE_KEY)
    if pa.types.is_decimal256(field.type) and field.type.precision > DECIMAL_DIGITS:
        raise Rejected(f"Column {field.name!r} is {field.type}, and DuckDB holds {DECIMAL_DIGITS} digits.")
    if pa.types.is_null(field.type):
        return f"{name}::VARCHAR"
    if pa.types.is_duration(field.type) and field.type.unit in _DURATIONS:
        return f"{_DURATIONS[field.type.unit]}({name})"
    if declared in (b"json", b"jsonb"):
        return f"{name}::JSON"
    return f"{name}::UUID" if declared == b"uuid" else name


def _add(connection: DuckDBPyConnection, target: str, held: dict[str, str], request: LoadRequest) -> None:
    """Append to, merge into or refill a table that exists, once it is fit for the data."""
    connection.execute(f"CREATE TEMP TABLE {_STAGE} AS {_rows(connection, request)}")
    values = _evolved(connection, target, held, request.schema_contract)
    names, expressions = listed(list(values)), ", ".join(values.values())
    if request.disposition == "replace":
        connection.execute(f"DELETE FROM {target}")  # noqa: S608 - quoted names
    if request.disposition != "merge":
        connection.execute(f"INSERT INTO {target} ({names}) SELECT {expressions} FROM {_STAGE} s")  # noqa: S608
        return
    same = " AND ".join(f"t.{quoted(name)} = {values[name]}" for name in request.primary_key)
    rest = [f"{quoted(name)} = {value}" for name, value in values.items() if name not in request.primary_key]
    update = f"WHEN MATCHED THEN UPDATE SET {', '.join(rest)} " if rest else ""
    connection.execute(
        f"MERGE INTO {target} t USING {_STAGE} s ON ({same}) {update}"  # noqa: S608 - quoted names
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({expressions})"
    )


def _evolved(
    connection: DuckDBPyConnection, target: str, held: dict[str, str], contract: SchemaContract
) -> dict[str, str]:
    """Make the target fit for the staged rows, and return each column's expression for it."""
    known = {name.lower(): declared for name, declared in held.items()}
    values = {}
    for name, declared, *_ in connection.execute(f"DESCRIBE {_STAGE}").fetchall():
        kept = known.get(name.lower())
        if kept is None:
            check_addable(contract, name)
            connection.execute(f"ALTER TABLE {target} ADD COLUMN {quoted(name)} {declared}")
            kept = declared
        else:
            kept = _fitted(connection, target, name, kept, declared, contract)
        values[name] = f"CAST(s.{quoted(name)} AS {kept})"
    return values


def _fitted(
    connection: DuckDBPyConnection, target: str, name: str, held: str, given: str, contract: SchemaContract
) -> str:
    """Return the type that the column has for this data, widened if need be. Raises SchemaConflict."""
    column = quoted(name)
    if held == given or held == "VARCHAR" or not _any(connection, _STAGE, f"{column} IS NOT NULL"):
        return held
    if given == "VARCHAR" and held.partition("(")[0] in _WRITTEN:
        return _altered(connection, target, name, held, given, contract)
    if _related(held, given):
        if _survives(connection, _STAGE, column, given, held):
            return held
        wider = given != "VARCHAR" and (held not in _FLOATS or given in _FLOATS)
        if wider and _survives(connection, target, column, held, given):
            return _altered(connection, target, name, held, given, contract)
    raise unfit(contract, name, held, given)


def _altered(
    connection: DuckDBPyConnection, target: str, name: str, held: str, wider: str, contract: SchemaContract
) -> str:
    import duckdb

    check_alterable(contract, name, held, wider)
    try:
        connection.execute(f"ALTER TABLE {target} ALTER COLUMN {quoted(name)} TYPE {wider}")
    except (duckdb.CatalogException, duckdb.DependencyException):
        detail = f"cannot become {wider}: an index of the table holds it at {held}."
        raise SchemaConflict(name, detail) from None
    return wider


def _related(held: str, given: str) -> bool:
    """Whether values of the one type mean the same as values of the other, where they can be written so."""
    first, second = held.partition("(")[0], given.partition("(")[0]
    if given.endswith("]") or held.endswith("]"):
        return given.endswith("]") and held.endswith("]")
    families = (_NUMBERS, _MOMENTS, ("STRUCT",), ("MAP",))
    if any(first in family and second in family for family in families):
        return True
    return second == "VARCHAR" and first in ("UUID", "JSON", "ENUM", "VARCHAR")


def _survives(connection: DuckDBPyConnection, relation: str, column: str, kept: str, through: str) -> bool:
    """Whether every value is the same after a cast and the cast back."""
    back = f"TRY_CAST(TRY_CAST({column} AS {through}) AS {kept})"
    return not _any(connection, relation, f"{back} IS DISTINCT FROM {column}")


def _any(connection: DuckDBPyConnection, relation: str, condition: str) -> bool:
    query = f"SELECT 1 FROM {relation} WHERE {condition} LIMIT 1"  # noqa: S608 - quoted names
    return bool(connection.execute(query).fetchall())


def _note(connection: DuckDBPyConnection, schema: str, table: str, request: LoadRequest) -> None:
    loads = quoted(schema, LOADS)
    connection.execute(f"DELETE FROM {loads} WHERE pipeline_id = ?", [request.pipeline_id])  # noqa: S608
    cursor = None if request.cursor is None else cursor_text(request.cursor)
    connection.execute(
        f"INSERT INTO {loads} VALUES (?, ?, ?, ?, ?, now())",  # noqa: S608 - quoted names
        [request.pipeline_id, request.load_id, table, cursor, request.output.rows],
    )
