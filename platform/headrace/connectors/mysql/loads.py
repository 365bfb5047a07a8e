"""The ledger of a MySQL database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql

from headrace.connectors.kit.loading.ledger import LEDGER, Kind, Ledger
from headrace.connectors.kit.sql.names import literal, quoted
from headrace.connectors.mysql.catalog import columns, tables
from headrace.connectors.mysql.connection import execute, fetch

if TYPE_CHECKING:
    from pymysql.connections import Connection

_DUPLICATE_COLUMN = 1060  # another load was quicker


@dataclass(frozen=True, kw_only=True)
class MySQLLedger(Ledger):
    """The ledger of the session's database. `ensure` commits by itself, as DDL does in MySQL."""

    types: ClassVar[Mapping[Kind, str]] = {
        "key": "VARCHAR(255) PRIMARY KEY",
        "name": "VARCHAR(255) NOT NULL",
        "text": "LONGTEXT",
        "number": "BIGINT NOT NULL",
        "instant": "DATETIME(6) NOT NULL",
    }
    # The server may keep names without case, as on Windows and macOS; the ledger's text compares by bytes.
    same_table: ClassVar[str] = (
        "(table_name = {table_name}"
        " OR (@@lower_case_table_names <> 0 AND lower(table_name) = lower({table_name})))"
    )
    now: ClassVar[str] = "UTC_TIMESTAMP(6)"

    connection: Connection

    def create(self, definition: str) -> None:
        """Create the table."""
        options = "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        execute(self.connection, f"CREATE TABLE IF NOT EXISTS {self.name()} ({definition}) {options}")

    def add(self, column: str, kind: str) -> None:
        """Add a column."""
        try:
            execute(self.connection, f"ALTER TABLE {self.name()} ADD COLUMN {column} {kind}")
        except pymysql.Error as error:
            if error.args[0] != _DUPLICATE_COLUMN:
                raise

    def columns(self) -> list[str]:
        """Ask the catalog."""
        return [column.name for column in columns(self.connection, LEDGER)]

    def holds(self, table: str) -> bool:
        """Ask the catalog."""
        return bool(tables(self.connection, table))

    def name(self) -> str:
        """Return the quoted name."""
        return quoted(LEDGER)

    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return the value itself, as a constant."""
        return str(value) if isinstance(value, int) else literal(value)

    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return fetch(self.connection, query)

    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Run one statement."""
        execute(self.connection, statement)
