"""Loading a run's output into a SQLite table, in one transaction.

SQLite has integers, floats, text and bytes: what is neither becomes text that says it exactly, decimals and
times among it, and nested values become JSON. A column's affinity converts what is stored in it, so data goes
only where that loses nothing; SQLite alters no column's type. A table that is replaced is made anew, but for
one whose schema is frozen, which is emptied and refilled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.connectors import Rejected, SchemaContract
from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.arrow.types import is_bytes, stored
from headrace.connectors.kit.loading.tables import TableLoad
from headrace.connectors.kit.sql.loads import check_addable, check_columns, unfit
from headrace.connectors.kit.sql.names import listed, quoted
from headrace.connectors.sqlite.loads import SQLiteLedger
from headrace.connectors.sqlite.read import columns

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT_FLOAT = 2**53  # up to which a float holds every integer


@dataclass(kw_only=True)
class SQLiteLoad(TableLoad):
    """A load into one table, all of it in one transaction."""

    connection: sqlite3.Connection
    path: str  # as configured
    held_columns: dict[str, str] = field(init=False, default_factory=dict)  # affinities by lower-case name

    @property
    def ledger(self) -> SQLiteLedger:
        """The ledger of the file."""
        return SQLiteLedger(connection=self.connection)

    def check(self) -> None:
        """Look at the columns' names."""
        check_columns(self.request.output.schema.names)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Take the file's write lock. Closing the file undoes what was not committed."""
        self.connection.execute("BEGIN IMMEDIATE")
        yield

    def find(self) -> bool:
        """Ask the file's schema."""
        found = columns(self.connection, self.table)
        self.held_columns = {column.name.lower(): column.affinity for column in found}
        return bool(found)

    def shape(self) -> dict[str, str]:
        """Return the columns as declared."""
        query = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1"
        return dict(self.connection.execute(query, [self.table]).fetchall())

    def text_columns(self) -> set[str]:
        """Ask for the affinities."""
        held, given = self.held_columns, self.request.output.schema
        return {
            one.name for one in given if held.get(one.name.lower()) == "TEXT" and _kind(one.type) != "TEXT"
        }

    def has_values(self, name: str) -> bool:
        """Look for one."""
        query = f"SELECT 1 FROM {quoted(self.table)} WHERE {quoted(name)} IS NOT NULL LIMIT 1"  # noqa: S608
        return self.connection.execute(query).fetchone() is not None

    def can_make(self) -> bool:
        """A merge needs the index of its key."""
        return not self.key

    def make(self) -> None:
        """Drop the table, create a new one and fill it."""
        self.connection.execute(f"DROP TABLE IF EXISTS {quoted(self.table)}")
        self.held_columns = {}
        self._create()
        self.append()

    def fit(self) -> None:
        """Create the table, or add columns; SQLite alters no type."""
        if not self.held_columns:
            self._create()
            return
        for column in self.request.output.schema:
            held = self.held_columns.get(column.name.lower())
            if held is None:
                check_addable(self.request.schema_contract, column.name)
                self._add_column(column.name, _kind(column.type))
            elif self._takes_type(column, held):
                self._retype(column.name, _kind(column.type))

    def _takes_type(self, column: pa.Field, held: str) -> bool:
        """Whether a column that has held nothing but nulls gets values of another type now."""
        kind = _kind(column.type)
        if not self.narrows or kind in (held, "NUMERIC"):
            return False
        if self.has_values(column.name):
            return False
        return any(
            batch.column(column.name).null_count < batch.num_rows for batch in self.request.output.batches()
        )

    def _retype(self, name: str, kind: str) -> None:
        """Put a new column in the place of one without values: SQLite alters no type.

        Where an index, a key or a view holds the column, it stays as it is.
        """
        with suppress(sqlite3.OperationalError):
            self.connection.execute(f"ALTER TABLE {quoted(self.table)} DROP COLUMN {quoted(name)}")
            self._add_column(name, kind)
            self.held_columns[name.lower()] = kind

    def _add_column(self, name: str, kind: str) -> None:
        self.connection.execute(f"ALTER TABLE {quoted(self.table)} ADD COLUMN {quoted(name)} {kind}")

    def empty(self) -> None:
        """Delete the rows."""
        self.deleted = self.connection.execute(f"DELETE FROM {quoted(self.table)}").rowcount  # noqa: S608

    def append(self) -> None:
        """Insert row by row."""
        self.inserted = self._insert("")

    def merge(self) -> None:
        """Insert row by row, or update where the key is known."""
        key = self.key
        index = quoted(f"_headrace_{self.table}_{'_'.join(key)}")
        self.connection.execute(
            f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {quoted(self.table)} ({listed(key)})"
        )
        rest = [quoted(name) for name in self.request.output.schema.names if name not in key]
        changes = ", ".join(f"{name} = excluded.{name}" for name in rest)
        before = self._count()
        action = f"UPDATE SET {changes}" if rest else "NOTHING"
        self._insert(f" ON CONFLICT ({listed(key)}) DO {action}")
        self.total = self._count()
        self.inserted = self.total - before

    def commit(self) -> None:
        """Commit rows, table and note as one."""
        self.connection.execute("COMMIT")

    def location(self) -> str:
        """Name the file and the table."""
        return f"sqlite: {self.path}: {self.table}"

    def _create(self) -> None:
        parts = ", ".join(f"{quoted(field.name)} {_kind(field.type)}" for field in self.request.output.schema)
        self.connection.execute(f"CREATE TABLE {quoted(self.table)} ({parts})")

    def _count(self) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {quoted(self.table)}").fetchone()[0])  # noqa: S608

    def _insert(self, conflict: str) -> int:
        """Insert every row; return how many the table has taken."""
        request = self.request
        names = request.output.schema.names
        marks = ", ".join("?" for _ in names)
        statement = f"INSERT INTO {quoted(self.table)} ({listed(names)}) VALUES ({marks}){conflict}"  # noqa: S608
        sent = taken = 0
        for batch in request.output.batches(10_000):
            for name in self.key:
                if batch.column(name).null_count:
                    raise Rejected(f"A row has no value in its primary key ({', '.join(self.key)}).")
            rows = _rows(batch, self.held_columns, request.schema_contract)
            taken += self.connection.executemany(statement, rows).rowcount
            sent += batch.num_rows
            request.progress(sent)
        return taken


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
        converted = _converted(array)
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
    data_type = stored(data_type)
    if is_a.is_null(data_type):  # no type yet
        return "NUMERIC"
    if is_a.is_boolean(data_type) or (is_a.is_integer(data_type) and not is_a.is_uint64(data_type)):
        return "INTEGER"
    if is_a.is_floating(data_type):
        return "REAL"
    return "BLOB" if is_bytes(data_type) else "TEXT"


def _converted(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    from headrace.connectors.kit.arrow.flat_texts import resolved
    from headrace.connectors.kit.arrow.rendering import texts

    kind = _kind(array.type)
    if pa.types.is_nested(stored(array.type)):
        return list(json_texts(array).to_pylist())
    if kind == "TEXT":
        return list(texts(array).to_pylist())
    plain = resolved(array)
    return _floats(plain) if kind == "REAL" else list(plain.to_pylist())


def _floats(array: pa.Array) -> list[Any]:
    """SQLite stores NaN as null, so that is refused rather than lost."""
    import pyarrow.compute as pc

    if pc.any(pc.is_nan(array)).as_py():
        raise ValueError("NaN")
    return list(array.to_pylist())
