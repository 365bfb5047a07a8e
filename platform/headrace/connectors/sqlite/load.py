"""Loading a run's output into a SQLite table, in one transaction.

SQLite has integers, floats, text and bytes: what is neither becomes text that says it exactly, decimals and
times among it, and nested values become JSON. A column's affinity converts what is stored in it, so data goes
only where that loses nothing; SQLite alters no column's type. A table that is replaced is made anew, but for
one whose schema is frozen, which is emptied and refilled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from headrace.connectors import LoadRequest, Rejected, SchemaContract, cursor_text
from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.sql.loads import LOADS, check_addable, check_columns, check_key, unfit
from headrace.connectors.kit.sql.names import listed, quoted
from headrace.connectors.sqlite.read import columns

if TYPE_CHECKING:
    import pyarrow as pa

_NEW = "_headrace_new"
_MOST = 2**63 - 1
_EXACT_FLOAT = 2**53  # up to which a float holds every integer


def load(connection: sqlite3.Connection, table: str, request: LoadRequest) -> None:
    """Load the output and note it, then commit; a load that was committed before is not done again."""
    schema = request.output.schema
    check_columns(schema.names)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {LOADS} (pipeline_id TEXT PRIMARY KEY, load_id TEXT NOT NULL,"
        " table_name TEXT NOT NULL, cursor TEXT, rows INTEGER NOT NULL, loaded_at TEXT NOT NULL)"
    )
    done = f"SELECT 1 FROM {LOADS} WHERE pipeline_id = ? AND load_id = ?"  # noqa: S608
    if connection.execute(done, [request.pipeline_id, request.load_id]).fetchall():
        request.log.info("This load was committed before; nothing is loaded twice.")
        return
    if schema.names:
        _publish(connection, table, request)
    elif request.disposition == "replace" and columns(connection, table):
        connection.execute(f"DELETE FROM {quoted(table)}")  # noqa: S608 - quoted name
    _note(connection, table, request)
    request.before_commit()
    connection.execute("COMMIT")


def _publish(connection: sqlite3.Connection, table: str, request: LoadRequest) -> None:
    key = request.primary_key if request.disposition == "merge" else ()
    if request.disposition == "merge":
        check_key(key, request.output.schema.names)
    if request.disposition == "replace" and request.schema_contract != "freeze":
        connection.execute(f"DROP TABLE IF EXISTS {quoted(table)}")
    held = {column.name.lower(): column.affinity for column in columns(connection, table)}
    if not held:
        _create(connection, table, request.output.schema)
    for field in request.output.schema if held else ():
        if field.name.lower() not in held:
            check_addable(request.schema_contract, field.name)
            connection.execute(
                f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(field.name)} {_kind(field.type)}"
            )
    if held and request.disposition == "replace":
        connection.execute(f"DELETE FROM {quoted(table)}")  # noqa: S608 - quoted name
    if key:
        index = quoted(f"_headrace_{table}_{'_'.join(key)}")
        connection.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {quoted(table)} ({listed(key)})")
    _insert(connection, table, key, held, request)


def _create(connection: sqlite3.Connection, table: str, schema: pa.Schema) -> None:
    parts = ", ".join(f"{quoted(field.name)} {_kind(field.type)}" for field in schema)
    connection.execute(f"CREATE TABLE {quoted(table)} ({parts})")


def _insert(
    connection: sqlite3.Connection,
    table: str,
    key: tuple[str, ...],
    held: dict[str, str],
    request: LoadRequest,
) -> None:
    names = request.output.schema.names
    statement = f"INSERT INTO {quoted(table)} ({listed(names)}) VALUES ({', '.join('?' for _ in names)})"  # noqa: S608
    rest = [quoted(name) for name in names if name not in key]
    if key:
        changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
        statement += f" ON CONFLICT ({listed(key)}) DO " + (f"UPDATE SET {changes}" if rest else "NOTHING")
    sent = 0
    for batch in request.output.batches(10_000):
        for name in key:
            if batch.column(name).null_count:
                raise Rejected(f"A row has no value in its primary key ({', '.join(key)}).")
        connection.executemany(statement, _rows(batch, held, request.schema_contract))
        sent += batch.num_rows
        request.progress(sent)


def _rows(batch: pa.RecordBatch, held: dict[str, str], contract: SchemaContract) -> Iterator[tuple[Any, ...]]:
    values = [
        _values(batch.column(index), field.name, held.get(field.name.lower()), contract)
        for index, field in enumerate(batch.schema)
    ]
    return zip(*values, strict=True)


def _values(array: pa.Array, name: str, held: str | None, contract: SchemaContract) -> list[Any]:
    """Return a column's values as SQLite stores them. Raises SchemaConflict where its affinity would change
    one, or the contract forbids the kind."""
    kind = _kind(array.type)
    try:
        converted = _converter(array.type)(array)
    except (ValueError, OverflowError, TypeError):
        raise Rejected(f"Column {name!r} holds a value that SQLite cannot.") from None
    if held == "REAL" and kind == "INTEGER":
        fits = all(value is None or abs(value) <= _EXACT_FLOAT for value in converted)
    elif held == "INTEGER" and kind == "REAL":  # which keeps fractions, though it prefers integers
        fits = contract == "evolve" or all(value is None or value.is_integer() for value in converted)
    elif held == "NUMERIC":
        fits = kind in ("INTEGER", "REAL")
    else:
        fits = held in (None, "BLOB", kind) or (held == "TEXT" and kind == "INTEGER")
    if fits or all(value is None for value in converted):
        return converted
    assert held is not None, "a new column fits"
    raise unfit(contract, name, held, kind)


def _kind(data_type: pa.DataType) -> str:
    """Return the affinity that a new column of this type gets."""
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_boolean(data_type) or (is_a.is_integer(data_type) and not is_a.is_uint64(data_type)):
        return "INTEGER"
    if is_a.is_floating(data_type):
        return "REAL"
    if is_a.is_binary(data_type) or is_a.is_large_binary(data_type) or is_a.is_fixed_size_binary(data_type):
        return "BLOB"
    return "TEXT"


def _converter(data_type: pa.DataType) -> Callable[[pa.Array], list[Any]]:
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_nested(data_type):
        return lambda array: json_texts(array).to_pylist()
    if is_a.is_uint64(data_type) or is_a.is_decimal(data_type) or is_a.is_temporal(data_type):
        return lambda array: array.cast(pa.string()).to_pylist()
    if is_a.is_floating(data_type):
        return _floats
    return lambda array: array.to_pylist()


def _floats(array: pa.Array) -> list[Any]:
    """SQLite stores NaN as null, so that is refused rather than lost."""
    import pyarrow.compute as pc

    if pc.any(pc.is_nan(array)).as_py():
        raise ValueError("NaN")
    return list(array.to_pylist())


def _note(connection: sqlite3.Connection, table: str, request: LoadRequest) -> None:
    cursor = None if request.cursor is None else cursor_text(request.cursor)
    connection.execute(
        f"INSERT OR REPLACE INTO {LOADS} VALUES (?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ'))",  # noqa: S608
        [request.pipeline_id, request.load_id, table, cursor, request.output.rows],
    )
