"""The destinations of histories, read past the platform."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Protocol

import duckdb
import psycopg
import pyarrow.parquet as pq
from tables import Row


class Unreadable(Exception):
    """The destination cannot be read at this moment, because somebody writes."""


class Destination(Protocol):
    """One table, file or folder."""

    is_shared: ClassVar[bool]
    """Whether it can be read at any time without being in a load's way."""

    def config(self) -> dict[str, Any]:
        """Return a pipeline's `destination`."""

    def rows(self) -> list[Row]:
        """Return what it holds; empty if there is nothing yet. Raises Unreadable."""

    def strays(self) -> list[str]:
        """Return what loads have left behind beside the data."""


class PostgresDestination:
    """A table of PostgreSQL, which the platform reaches through a proxy."""

    is_shared = True

    def __init__(self, name: str, *, direct_url: str, url: str) -> None:
        self.name, self._direct, self._url = name, direct_url, url

    def config(self) -> dict[str, Any]:
        return {"name": "postgres", "config": {"url": self._url, "table": self.name}}

    def rows(self) -> list[Row]:
        with psycopg.connect(self._direct, autocommit=True) as session:
            try:
                return session.execute(f"SELECT id, batch, note FROM {self.name}").fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    def strays(self) -> list[str]:
        query = """
        SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')
        AND relname LIKE '\\_headrace%' AND relname NOT LIKE '\\_headrace\\_loads%'"""
        with psycopg.connect(self._direct, autocommit=True) as session:
            return [f"table {name}" for (name,) in session.execute(query)]


class _FileOfTables:
    is_shared: ClassVar[bool]
    kind: ClassVar[str]

    def __init__(self, name: str, folder: Path) -> None:
        self.path = folder / f"{name}.{self.kind}"

    def config(self) -> dict[str, Any]:
        return {"name": self.kind, "config": {"path": str(self.path), "table": "things"}}

    def strays(self) -> list[str]:
        names = [
            name for name in self._tables() if name != "things" and not name.startswith("_headrace_loads")
        ]
        beside = [one.name for one in self.path.parent.glob(f"*{self.path.name}*")]
        known = {self.path.name, *(f"{self.path.name}{end}" for end in ("-wal", "-shm", ".wal"))}
        return [f"table {name}" for name in names] + [f"file {name}" for name in beside if name not in known]

    def _tables(self) -> list[str]:
        raise NotImplementedError


class SqliteDestination(_FileOfTables):
    """A table of a SQLite file."""

    is_shared = True
    kind = "sqlite"

    def rows(self) -> list[Row]:
        try:
            return self._select("SELECT id, batch, note FROM things")
        except sqlite3.OperationalError as error:
            if "no such table" in str(error) or not self.path.exists():
                return []
            raise Unreadable(str(error)) from None

    def _tables(self) -> list[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        return [name for (name,) in self._select(query)]

    def _select(self, query: str) -> list[Any]:
        # Not read-only: a reader, too, must roll back what a killed writer has left in the journal.
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.path}?mode=rw", uri=True, timeout=1)) as connection:
            return connection.execute(query).fetchall()


class DuckdbDestination(_FileOfTables):
    """A table of a DuckDB file, which only one process opens at a time: it is read between the runs."""

    is_shared = False
    kind = "duckdb"

    def rows(self) -> list[Row]:
        return self._select("SELECT id, batch, note FROM things")

    def _tables(self) -> list[str]:
        return [name for (name,) in self._select("SELECT table_name FROM information_schema.tables")]

    def _select(self, query: str) -> list[Any]:
        if not self.path.exists():
            return []
        try:
            with duckdb.connect(str(self.path)) as connection:
                return connection.execute(query).fetchall()
        except duckdb.CatalogException:
            return []
        except duckdb.IOException as error:
            raise Unreadable(str(error)) from None


class FileDestination:
    """Parquet: one file that is replaced, or a folder with a record of its files."""

    is_shared = True

    def __init__(self, name: str, mode: str, folder: Path) -> None:
        self.folder, self.mode, self.name = folder / name, mode, name

    def config(self) -> dict[str, Any]:
        return {
            "name": "file",
            "config": {"path": str(self.folder), "format": "parquet", "file_name": "things"},
        }

    def rows(self) -> list[Row]:
        try:
            return [row for file in self._files() for row in _parquet_rows(file)]
        except FileNotFoundError as error:
            raise Unreadable(str(error)) from None

    def strays(self) -> list[str]:
        if not self.folder.exists():
            return []
        all_files = {file for file in self.folder.rglob("*") if file.is_file()}
        kept = {file for file in all_files if "_headrace" in file.relative_to(self.folder).parts[:1]}
        strays = all_files - kept - set(self._files())
        hidden = {
            file for file in all_files if file.name.startswith(".") or file.name.endswith(".unfinished")
        }
        return [f"file {file.relative_to(self.folder)}" for file in sorted(strays | hidden)]

    def _files(self) -> list[Path]:
        if self.mode == "replace":
            single = self.folder / "things.parquet"
            return [single] if single.exists() else []
        records = list((self.folder / "_headrace").glob("*.json"))
        return [
            _below(self.folder, name)
            for record in records
            for name in json.loads(record.read_text())["files"]
        ]


def _below(folder: Path, name: Any) -> Path:
    return folder / (name if isinstance(name, str) else name["path"])


def _parquet_rows(file: Path) -> Iterator[Row]:
    table = pq.read_table(file, partitioning=None)
    return zip(*(table[name].to_pylist() for name in ("id", "batch", "note")), strict=True)
