"""The ledger of a PostgreSQL schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors.kit.loading.ledger import LEDGER, Kind, Ledger
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.catalog import columns
from headrace.connectors.postgres.connection import commit, execute, fetch

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


@dataclass(frozen=True, kw_only=True)
class PostgresLedger(Ledger):
    """The ledger of one schema."""

    types: ClassVar[Mapping[Kind, str]] = {
        "key": "text PRIMARY KEY",
        "name": "text NOT NULL",
        "text": "text",
        "number": "bigint NOT NULL",
        "instant": "timestamp with time zone NOT NULL",
    }
    now: ClassVar[str] = "now()"

    connection: Connection
    schema: str

    def create(self, definition: str) -> None:
        """Create the table in the load's transaction; its schema is there."""
        # Two first loads at once: the second waits here, and then finds the table.
        execute(
            self.connection,
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
            f"{self.schema}.{LEDGER}",
        )
        execute(self.connection, f"CREATE TABLE IF NOT EXISTS {self.name()} ({definition})")

    def add(self, column: str, kind: str) -> None:
        """Add a column."""
        execute(self.connection, f"ALTER TABLE {self.name()} ADD COLUMN IF NOT EXISTS {column} {kind}")

    def upgrade(self) -> None:
        """Add what an older release did not write, and commit: the lock that it takes must not last.

        Nor may a query precede the load's SET TRANSACTION, where a user's default is another isolation.
        """
        if self.columns():
            self.ensure()
        commit(self.connection)

    def columns(self) -> list[str]:
        """Ask the catalog."""
        return [column.name for column in columns(self.connection, self.schema, LEDGER)]

    def holds(self, table: str) -> bool:
        """Ask the catalog."""
        return bool(
            fetch(self.connection, "SELECT WHERE to_regclass($1) IS NOT NULL", quoted(self.schema, table))
        )

    def name(self) -> str:
        """Return the qualified name."""
        return quoted(self.schema, LEDGER)

    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return `$1` and so on."""
        return f"${place}"

    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return fetch(self.connection, query, *values.values())

    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Run one statement."""
        execute(self.connection, statement, *values.values())
