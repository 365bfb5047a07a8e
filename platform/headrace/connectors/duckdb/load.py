"""Loading a run's output into a DuckDB table, in one transaction, by DuckDB's own reader of Parquet.

A table that is replaced is made anew: what hung on it, such as an index, is not kept; views go on. One whose
schema is frozen is emptied and refilled. Nothing is rounded: where the types differ, every value has to
survive the way there and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.connectors import Rejected
from headrace.connectors.duckdb.catalog import columns
from headrace.connectors.duckdb.evolve import STAGE, evolved, exists
from headrace.connectors.duckdb.loads import DuckDBLedger
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS, TYPE_KEY
from headrace.connectors.kit.loading.calendar import Calendar
from headrace.connectors.kit.loading.maps import check_keys_of_maps
from headrace.connectors.kit.loading.tables import TableLoad
from headrace.connectors.kit.sql.loads import check_columns
from headrace.connectors.kit.sql.names import listed, literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_STREAMING_MEMORY = "256MB"
_ORDINAL = "file_row_number"  # DuckDB's name for a row's place in its file
_OWN_ORDINAL = "_headrace_row"
# DuckDB would take folders of the path, such as tenant=acme, for columns, and put them over the file's own.
_AS_IT_IS = "hive_partitioning = false, filename = false, union_by_name = false, binary_as_string = false"
# https://duckdb.org/docs/stable/sql/data_types/timestamp: what lies beyond is infinite, or other times
_CALENDAR = Calendar(
    system="DuckDB",
    days=(-(2**31) + 2, 2**31 - 2),
    seconds=(-9_223_372_022_400, 9_223_372_036_854),
    nested=True,
)
_DURATIONS = {"s": "to_seconds", "ms": "to_milliseconds", "us": "to_microseconds"}


@dataclass(kw_only=True)
class DuckDBLoad(TableLoad):
    """A load into one table, all of it in one transaction."""

    connection: DuckDBPyConnection
    path: str  # as configured
    schema: str
    held_columns: dict[str, str] = field(init=False, default_factory=dict)  # types by name
    values: dict[str, str] = field(init=False, default_factory=dict)  # expressions of staged columns

    @property
    def sql(self) -> str:
        """The table's name as SQL."""
        return quoted(self.schema, self.table)

    @property
    def ledger(self) -> DuckDBLedger:
        """The ledger of the table's schema."""
        return DuckDBLedger(connection=self.connection, schema=self.schema)

    def check(self) -> None:
        """Look at names, at times, and at maps: one that has a key twice is stored and cannot be read."""
        check_columns(self.request.output.schema.names)
        check_keys_of_maps(self.request.output, "DuckDB")
        _CALENDAR.check(self.request.output)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the schema. The process holds the file alone, and closing it undoes what was not committed."""
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.schema)}")
        yield

    def find(self) -> bool:
        """Ask the catalog."""
        self.held_columns = columns(self.connection, self.schema, self.table)
        return bool(self.held_columns)

    def shape(self) -> dict[str, str]:
        """Ask the catalog."""
        return columns(self.connection, self.schema, self.table)

    def text_columns(self) -> set[str]:
        """Names match in any case."""
        held = {name.lower() for name, declared in self.held_columns.items() if declared == "VARCHAR"}
        return {name for name in self.request.output.schema.names if name.lower() in held}

    def has_values(self, name: str) -> bool:
        """Look for one."""
        return exists(self.connection, self.sql, f"{quoted(name)} IS NOT NULL")

    def can_make(self) -> bool:
        """Whatever the mode."""
        return True

    def make(self) -> None:
        """Create the table from the rows, or put it in the place of the old one."""
        self.deleted = self._count() if self.exists else 0
        if not self.key:  # nothing is sorted: more memory would only be a cache
            self.connection.execute(f"SET memory_limit = '{_STREAMING_MEMORY}'")
        self.inserted = self._changed(f"CREATE OR REPLACE TABLE {self.sql} AS {self._rows()}")

    def stage(self) -> None:
        """Read the rows into a temporary table."""
        self.connection.execute(f"CREATE TEMP TABLE {STAGE} AS {self._rows()}")

    def fit(self) -> None:
        """Add and widen columns."""
        contract, held = self.request.schema_contract, self.held_columns
        self.values = evolved(self.connection, self.sql, held, contract, narrows=self.narrows)

    def empty(self) -> None:
        """Delete the rows."""
        self.deleted = self._changed(f"DELETE FROM {self.sql}")  # noqa: S608 - quoted names

    def append(self) -> None:
        """Insert what is staged."""
        names, expressions = listed(list(self.values)), ", ".join(self.values.values())
        query = f"SELECT {expressions} FROM {STAGE} s"  # noqa: S608 - quoted names
        self.inserted = self._changed(f"INSERT INTO {self.sql} ({names}) {query}")

    def merge(self) -> None:
        """Update the rows of known keys, insert the others."""
        values, key = self.values, self.key
        same = " AND ".join(f"t.{quoted(name)} = {values[name]}" for name in key)
        rest = [f"{quoted(name)} = {value}" for name, value in values.items() if name not in key]
        update = f"WHEN MATCHED THEN UPDATE SET {', '.join(rest)} " if rest else ""
        before = self._count()
        merged = self._changed(
            f"MERGE INTO {self.sql} t USING {STAGE} s ON ({same}) {update}"  # noqa: S608 - quoted names
            f"WHEN NOT MATCHED THEN INSERT ({listed(list(values))}) VALUES ({', '.join(values.values())})"
        )
        self.inserted = self._count() - before
        self.updated = merged - self.inserted

    def publish(self) -> None:
        """Change the table, and count what it holds then."""
        super().publish()
        if self.request.output.schema.names:
            self.total = self._count()

    def commit(self) -> None:
        """Commit rows, table and note as one."""
        self.connection.execute("COMMIT")

    def location(self) -> str:
        """Name the file, the schema and the table."""
        return f"duckdb: {self.path}: {self.schema}.{self.table}"

    def _changed(self, statement: str) -> int:
        return int(self.connection.execute(statement).fetchall()[0][0])

    def _count(self) -> int:
        return self._changed(f"SELECT count(*) FROM {self.sql}")  # noqa: S608 - quoted names

    def _rows(self) -> str:
        """Return the query of the rows to load: for a merge, of each key's last row."""
        output, key = self.request.output, self.key
        path = literal(str(output.path))
        values = ", ".join(f"{_value(field)} AS {quoted(field.name)}" for field in output.schema)
        if not key:
            return f"SELECT {values} FROM read_parquet({path}, {_AS_IT_IS})"  # noqa: S608 - quoted names
        source = f"read_parquet({path}, {_AS_IT_IS}, {_ORDINAL} = true)"
        if _ORDINAL in map(str.lower, output.schema.names):  # the file's own column of that name
            whole = f"read_parquet({path}, {_AS_IT_IS})"
            source = f"(SELECT *, row_number() OVER () AS {_OWN_ORDINAL} FROM {whole})"  # noqa: S608
        missing = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
        if exists(self.connection, source, missing):
            raise Rejected(f"A row has no value in its primary key ({', '.join(key)}).")
        ordinal = _OWN_ORDINAL if source.startswith("(") else _ORDINAL
        place = f"row_number() OVER (PARTITION BY {listed(key)} ORDER BY {ordinal} DESC)"
        return f"SELECT {values} FROM {source} QUALIFY {place} = 1"  # noqa: S608 - quoted names


def _value(field: pa.Field) -> str:
    """Return the SQL that reads a field from Parquet as what it was in Arrow, or in PostgreSQL."""
    import pyarrow as pa

    name, declared = quoted(field.name), (field.metadata or {}).get(TYPE_KEY)
    if _is_too_precise(field.type):
        raise Rejected(f"Column {field.name!r} is {field.type}, and DuckDB holds {DECIMAL_DIGITS} digits.")
    if pa.types.is_null(field.type):
        return f"{name}::VARCHAR"
    if pa.types.is_duration(field.type) and field.type.unit in _DURATIONS:
        return f"{_DURATIONS[field.type.unit]}({name})"
    if declared in (b"json", b"jsonb"):
        return f"{name}::JSON"
    return f"{name}::UUID" if declared == b"uuid" else name


def _is_too_precise(kind: pa.DataType) -> bool:
    """Whether decimals of the type, or of its parts, would become doubles."""
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return bool(kind.precision > DECIMAL_DIGITS)
    return any(_is_too_precise(kind.field(index).type) for index in range(kind.num_fields))
