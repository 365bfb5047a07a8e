"""The SQL systems that can be loaded, each in an empty place of its own: for what all of them keep to."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest
from fakes.bigquery import run_bigquery
from mariadb_server import MariaDBServer
from outputs import request_for

from headrace.connectors import Destination, LoadResult, Source
from headrace.connectors.bigquery.connector import BigQueryDestination
from headrace.connectors.bigquery.evolve import STANDARD
from headrace.connectors.duckdb.connector import DuckDBDestination, DuckDBSource
from headrace.connectors.mysql.connector import MySQLDestination, MySQLSource
from headrace.connectors.postgres.connector import PostgresDestination, PostgresSource
from headrace.connectors.sqlite.connector import SQLiteDestination, SQLiteSource

SYSTEMS = ("postgres", "mysql", "duckdb", "sqlite", "bigquery")


class System(ABC):
    """One system: a destination, the source that reads it, and SQL beside them."""

    name: str
    destination: Destination
    source: Source | None = None  # BigQuery is no source

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(
        self, given: pa.Table | dict[str, Any], disposition: str = "replace", /, **changes: Any
    ) -> LoadResult:
        """Load rows into the table `items`, unless told otherwise."""
        table = given if isinstance(given, pa.Table) else pa.table(given)
        return self.destination.load(request_for(table, self._folder, disposition=disposition, **changes))

    def advance(self, **changes: Any) -> bool:
        """Note a run that found no new rows."""
        nothing = pa.table({"id": pa.array([], pa.int64())})
        return self.destination.advance(request_for(nothing, self._folder, disposition="append", **changes))

    @abstractmethod
    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows."""

    def drop_column(self, table: str, column: str) -> None:
        """Take a column away from a table."""
        self.run(f"ALTER TABLE {table} DROP COLUMN {column}")

    def types(self, table: str) -> dict[str, str]:
        """Return a table's columns and their types, as the catalog says."""
        query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{}'"
        return dict(self.run(query.format(table)))

    def rows(self, columns: str = "*", table: str = "items") -> list[tuple[Any, ...]]:
        """Return a table's rows by their first column."""
        return self.run(f"SELECT {columns} FROM {table} ORDER BY 1")


class _Postgres(System):
    name = "postgres"

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url
        self.destination, self.source = PostgresDestination(url=url), PostgresSource(url=url)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            return answer.fetchall() if answer.description else []


class _MySQL(System):
    name = "mysql"

    def __init__(self, folder: Path, server: MariaDBServer, config: dict[str, Any]) -> None:
        super().__init__(folder)
        self._server, self._database = server, config["database"]
        self.destination, self.source = MySQLDestination(**config), MySQLSource(**config)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with self._server.connection(self._database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


class _DuckDB(System):
    name = "duckdb"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = str(folder / "it.duckdb")
        self.destination, self.source = DuckDBDestination(path=self._path), DuckDBSource(path=self._path)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self._path) as connection:
            return connection.execute(statement).fetchall()


class _SQLite(System):
    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = str(folder / "it.sqlite")
        self.destination, self.source = SQLiteDestination(path=self._path), SQLiteSource(path=self._path)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def types(self, table: str) -> dict[str, str]:
        return dict(self.run(f"SELECT name, type FROM pragma_table_info('{table}')"))


class _BigQuery(System):
    name = "bigquery"

    def __init__(self, folder: Path, server: Any) -> None:
        super().__init__(folder)
        self._server = server
        self.destination = BigQueryDestination.model_validate(server.config())

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        for word in ("FROM ", "TABLE ", "INTO ", "UPDATE "):
            statement = statement.replace(word, f"{word}raw_data.")
        if statement.startswith("DROP TABLE"):
            self._server.delete_table("raw_data", statement.rpartition(".")[2])
            return []
        return [tuple(row.values()) for row in self._server.rows(statement)]

    def types(self, table: str) -> dict[str, str]:
        found = self._server.tables.get(("raw_data", table), {"schema": {"fields": []}})
        return {held["name"]: STANDARD.get(held["type"], held["type"]) for held in found["schema"]["fields"]}

    def arrow(self, table: str) -> pa.Table:
        """Return a table's rows as the server holds them."""
        return self._server.arrow(f"FROM raw_data.{table}")

    def drop_column(self, table: str, column: str) -> None:
        super().drop_column(table, column)
        schema = self._server.tables["raw_data", table]["schema"]
        schema["fields"] = [held for held in schema["fields"] if held["name"] != column]


@contextmanager
def started(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """Start a system where it is not a file."""
    with ExitStack() as stack:
        if name == "postgres":
            postgres = request.getfixturevalue("postgres_server")
            url = postgres.fresh_database()
            stack.callback(postgres.drop_database, url)
            yield _Postgres(folder, url)
        elif name == "mysql":
            mariadb = request.getfixturevalue("mariadb_server")
            config = mariadb.fresh_database()
            stack.callback(mariadb.drop_database, config)
            yield _MySQL(folder, mariadb, config)
        elif name == "bigquery":
            yield _BigQuery(folder, stack.enter_context(run_bigquery()))
        else:
            yield _DuckDB(folder) if name == "duckdb" else _SQLite(folder)
