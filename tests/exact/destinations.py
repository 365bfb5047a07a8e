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
from source_system import Place

Rows = Sequence[dict[str, Any]]


class Target:
    """One table, or one stream of files."""

    name: ClassVar[str]
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append", "merge"})
    lacks: ClassVar[frozenset[str]] = frozenset()
    has_types: ClassVar[bool] = False  # one for each kind but JSON
    is_known_early: ClassVar[bool] = True  # a second pipeline of the table is refused when it is created

    def __init__(self, place: Place) -> None:
        self.place = place

    def config(self) -> dict[str, Any]:
        """Return the pipeline's `destination`."""
        raise NotImplementedError

    def rows(self) -> Rows | None:
        """Return the table's rows; None where there is no table."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove what was made; the folder goes with the history."""


class DuckdbTarget(Target):
    """A table of a DuckDB file."""

    name: ClassVar[str] = "duckdb"
    has_types: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.path = place.folder / "target.duckdb"

    def config(self) -> dict[str, Any]:
        return {"name": "duckdb", "config": {"path": str(self.path), "table": "things"}}

    def rows(self) -> Rows | None:
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


class SqliteTarget(Target):
    """A table of a SQLite file."""

    name: ClassVar[str] = "sqlite"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.path = place.folder / "target.sqlite"

    def config(self) -> dict[str, Any]:
        return {"name": "sqlite", "config": {"path": str(self.path), "table": "things"}}

    def rows(self) -> Rows | None:
        if not self.path.exists():
            return None
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute("SELECT * FROM things")]
            except sqlite3.OperationalError:
                return None


class PostgresTarget(Target):
    """A table of a PostgreSQL schema that the process's histories share."""

    name: ClassVar[str] = "postgres"
    has_types: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.servers = place.servers
        self.table = self.servers.fresh_name("things")

    def config(self) -> dict[str, Any]:
        where = {"url": self.servers.postgres_url, "schema": self.servers.postgres_schema}
        return {"name": "postgres", "config": {**where, "table": self.table}}

    def rows(self) -> Rows | None:
        with self.servers.postgres_session() as connection:
            cursor = connection.cursor(row_factory=psycopg.rows.dict_row)
            try:
                return cursor.execute(
                    f"SELECT * FROM {self.servers.postgres_schema}.{self.table}".encode()
                ).fetchall()
            except psycopg.errors.UndefinedTable:
                return None

    def close(self) -> None:
        with self.servers.postgres_session() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self.servers.postgres_schema}.{self.table}".encode())


class MysqlTarget(Target):
    """A table of a MariaDB database that the process's histories share."""

    name: ClassVar[str] = "mysql"
    has_types: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.servers = place.servers
        self.table = self.servers.fresh_name("things")

    def config(self) -> dict[str, Any]:
        return {"name": "mysql", "config": {**self.servers.mysql_database, "table": self.table}}

    def rows(self) -> Rows | None:
        connection = self.servers.mysql_session()
        with connection.cursor(pymysql.cursors.DictCursor) as cursor:
            try:
                cursor.execute(f"SELECT * FROM {self.table}")
                return list(cursor.fetchall())
            except pymysql.err.ProgrammingError:
                return None
            finally:
                connection.rollback()

    def close(self) -> None:
        with self.servers.mysql_session().cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {self.table}")


class ParquetTarget(Target):
    """A Parquet file, or a folder of them."""

    name: ClassVar[str] = "parquet"
    has_types: ClassVar[bool] = True
    modes: ClassVar[frozenset[str]] = frozenset({"full_refresh", "append"})
    is_known_early: ClassVar[bool] = False
    format: ClassVar[str] = "parquet"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.folder = place.folder / "files"

    def config(self) -> dict[str, Any]:
        keys = {"path": str(self.folder), "file_name": "things", "format": self.format}
        return {"name": "file", "config": keys}

    def rows(self) -> Rows | None:
        """Return the rows of the file, or of those that the folder's records name."""
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


class JsonLinesTarget(ParquetTarget):
    """The same as JSON lines."""

    name: ClassVar[str] = "jsonl"
    has_types: ClassVar[bool] = False
    format: ClassVar[str] = "jsonl"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})

    def _read(self, path: Path) -> Rows:
        # Split at line feeds only: `splitlines` knows line ends that may stand inside JSON texts.
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


class CsvTarget(ParquetTarget):
    """The same as CSV; a null and an empty text are told apart by quotes, which Python's reader drops."""

    name: ClassVar[str] = "csv"
    has_types: ClassVar[bool] = False
    format: ClassVar[str] = "csv"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes", "text", "json"})

    def _read(self, path: Path) -> Rows:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        DuckdbTarget, SqliteTarget, PostgresTarget, MysqlTarget, ParquetTarget, JsonLinesTarget, CsvTarget,
    )
}  # fmt: skip


@contextmanager
def made(name: str, place: Place) -> Iterator[Target]:
    """Make a target; remove it at the end."""
    target = TARGETS[name](place)
    try:
        yield target
    finally:
        target.close()
