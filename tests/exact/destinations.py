"""Destinations, and how each is read back by a program that is not Headrace."""

import csv
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import psycopg
import pyarrow.parquet as pq
import pymysql
from servers import Servers

Rows = Sequence[dict[str, Any]]


class DuckdbTarget:
    """A table of a DuckDB file."""

    name: ClassVar[str] = "duckdb"
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append", "merge"})
    lacks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.path = folder / "target.duckdb"

    def config(self) -> dict[str, Any]:
        return {"name": "duckdb", "config": {"path": str(self.path), "table": "things"}}

    def rows(self) -> Rows | None:
        """Return the table's rows; None where there is no table."""
        if not self.path.exists():
            return None
        with duckdb.connect(str(self.path), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            try:
                found = connection.execute("SELECT * FROM main.things")
            except duckdb.CatalogException:
                return None
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def close(self) -> None:
        """The folder goes with the history."""


class SqliteTarget:
    """A table of a SQLite file."""

    name: ClassVar[str] = "sqlite"
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append", "merge"})
    lacks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.path = folder / "target.sqlite"

    def config(self) -> dict[str, Any]:
        return {"name": "sqlite", "config": {"path": str(self.path), "table": "things"}}

    def rows(self) -> Rows | None:
        """Return the table's rows; None where there is no table."""
        if not self.path.exists():
            return None
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute("SELECT * FROM things")]
            except sqlite3.OperationalError:
                return None

    def close(self) -> None:
        """The folder goes with the history."""


class PostgresTarget:
    """A table of a PostgreSQL schema of its own."""

    name: ClassVar[str] = "postgres"
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append", "merge"})
    lacks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.url, self.schema = servers.postgres_url, servers.fresh_name("target")

    def config(self) -> dict[str, Any]:
        return {"name": "postgres", "config": {"url": self.url, "schema": self.schema, "table": "things"}}

    def rows(self) -> Rows | None:
        """Return the table's rows; None where there is no table."""
        with psycopg.connect(self.url, row_factory=psycopg.rows.dict_row) as connection:
            try:
                return connection.execute(f"SELECT * FROM {self.schema}.things".encode()).fetchall()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return None

    def close(self) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE".encode())


class MysqlTarget:
    """A table of a MariaDB database of its own."""

    name: ClassVar[str] = "mysql"
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append", "merge"})
    lacks: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.servers, self.where = servers, servers.mysql_database()

    def config(self) -> dict[str, Any]:
        return {"name": "mysql", "config": {**self.where, "table": "things"}}

    def rows(self) -> Rows | None:
        """Return the table's rows; None where there is no table."""
        with (
            closing(
                pymysql.connect(**self.where, charset="utf8mb4", cursorclass=pymysql.cursors.DictCursor)
            ) as connection,
            connection.cursor() as cursor,
        ):
            try:
                cursor.execute("SELECT * FROM things")
            except pymysql.err.ProgrammingError:
                return None
            return list(cursor.fetchall())

    def close(self) -> None:
        self.servers.drop_mysql(self.where)


class ParquetTarget:
    """A Parquet file, or a folder of them."""

    name: ClassVar[str] = "parquet"
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append"})
    lacks: ClassVar[frozenset[str]] = frozenset()
    format: ClassVar[str] = "parquet"

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder = folder / "files"

    def config(self) -> dict[str, Any]:
        keys = {"path": str(self.folder), "file_name": "things", "format": self.format}
        return {"name": "file", "config": keys}

    def rows(self) -> Rows | None:
        """Return the rows of the file, or of those that the folder's record names."""
        records = list((self.folder / "_headrace").glob("*.json"))
        single = self.folder / f"things.{self.format}"
        if records:
            named = [name for record in records for name in json.loads(record.read_text())["files"]]
            paths = [self._found(name) for name in named]
        elif single.exists():
            paths = [single]
        else:
            return None
        return [row for path in paths for row in self._read(path)]

    def _found(self, name: str) -> Path:
        (path,) = [path for path in self.folder.rglob(Path(name).name) if path.is_file()]
        return path

    def _read(self, path: Path) -> Rows:
        rows: Rows = pq.read_table(path).to_pylist()
        return rows

    def close(self) -> None:
        """The folder goes with the history."""


class JsonLinesTarget(ParquetTarget):
    """The same as JSON lines."""

    name: ClassVar[str] = "jsonl"
    format: ClassVar[str] = "jsonl"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})

    def _read(self, path: Path) -> Rows:
        # Split at line feeds only: `splitlines` knows line ends that may stand inside JSON texts.
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class CsvTarget(ParquetTarget):
    """The same as CSV; a null and an empty text are told apart by quotes, which Python's reader drops."""

    name: ClassVar[str] = "csv"
    format: ClassVar[str] = "csv"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes", "text", "json"})

    def _read(self, path: Path) -> Rows:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


TARGETS = {
    target.name: target
    for target in (
        DuckdbTarget, SqliteTarget, PostgresTarget, MysqlTarget, ParquetTarget, JsonLinesTarget, CsvTarget,
    )
}  # fmt: skip


@contextmanager
def made(name: str, folder: Path, servers: Servers) -> Iterator[Any]:
    """Make a target; remove it at the end."""
    target = TARGETS[name](folder, servers)
    try:
        yield target
    finally:
        target.close()
