"""The ledger of a DuckDB schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors.duckdb.catalog import columns
from headrace.connectors.kit.loading.ledger import LEDGER, Kind, Ledger
from headrace.connectors.kit.sql.names import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, kw_only=True)
class DuckDBLedger(Ledger):
    """The ledger of one schema."""

    # No key: DuckDB refuses a row whose key was deleted in the same transaction.
    types: ClassVar[Mapping[Kind, str]] = {
        "key": "VARCHAR",
        "name": "VARCHAR",
        "text": "VARCHAR",
        "number": "BIGINT",
        "instant": "TIMESTAMPTZ",
    }
    same_table: ClassVar[str] = "lower(table_name) = lower({table_name})"
    now: ClassVar[str] = "now()"

    connection: DuckDBPyConnection
    schema: str

    def create(self, definition: str) -> None:
        """Create the table."""
        self.connection.execute(f"CREATE TABLE {self.name()} ({definition})")

    def add(self, column: str, kind: str) -> None:
        """Add a column."""
        self.connection.execute(f"ALTER TABLE {self.name()} ADD COLUMN {column} {kind}")

    def columns(self) -> list[str]:
        """Ask the catalog."""
        return list(columns(self.connection, self.schema, LEDGER))

    def holds(self, table: str) -> bool:
        """Ask the catalog."""
        return bool(columns(self.connection, self.schema, table))

    def name(self) -> str:
        """Return the qualified name."""
        return quoted(self.schema, LEDGER)

    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return `$1` and so on."""
        return f"${place}"

    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return self.connection.execute(query, list(values.values())).fetchall()

    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Run one statement."""
        self.connection.execute(statement, list(values.values()))
