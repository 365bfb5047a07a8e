"""The ledger of a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from headrace.connectors.kit.loading.ledger import LEDGER, Kind, Ledger
from headrace.connectors.sqlite.read import columns


@dataclass(frozen=True, kw_only=True)
class SQLiteLedger(Ledger):
    """The ledger of one file."""

    types: ClassVar[Mapping[Kind, str]] = {
        "key": "TEXT PRIMARY KEY",
        "name": "TEXT NOT NULL",
        "text": "TEXT",
        "number": "INTEGER NOT NULL",
        "instant": "TEXT NOT NULL",
    }
    same_table: ClassVar[str] = "lower(table_name) = lower({table_name})"
    now: ClassVar[str] = "strftime('%Y-%m-%dT%H:%M:%fZ')"

    connection: sqlite3.Connection

    def create(self, definition: str) -> None:
        """Create the table."""
        self.connection.execute(f"CREATE TABLE {self.name()} ({definition})")

    def add(self, column: str, kind: str) -> None:
        """Add a column."""
        self.connection.execute(f"ALTER TABLE {self.name()} ADD COLUMN {column} {kind}")

    def columns(self) -> list[str]:
        """Ask the file's schema."""
        return [column.name for column in columns(self.connection, LEDGER)]

    def holds(self, table: str) -> bool:
        """Ask the file's schema."""
        return bool(columns(self.connection, table))

    def name(self) -> str:
        """Return the name."""
        return LEDGER

    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return `?1` and so on."""
        return f"?{place}"

    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return self.connection.execute(query, list(values.values())).fetchall()

    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Run one statement."""
        self.connection.execute(statement, list(values.values()))
