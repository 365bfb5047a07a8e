"""Sources that grow and the destinations that must follow: rows are `(id, batch, note)`.

The driver remembers each state that a source has had. A destination must always equal one of them, and never
an older one than before: whatever else it shows is a part of a load, a loss or a repetition.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs, urlsplit

import duckdb
import psycopg
import pyarrow.parquet as pq

Row = tuple[int, int, str]


class Unreadable(Exception):
    """The destination cannot be read at this moment, because somebody writes."""


class Truth:
    """Every state of a source, oldest first, and which rows come next."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.rows: dict[int, Row] = {}
        self._places: dict[frozenset[Row], int] = {frozenset(): 0}
        self.batch = 0

    def grow(self, count: int) -> list[Row]:
        """Add rows, change some if the mode lets a destination follow; return what is new."""
        self.batch += 1
        added = range(len(self.rows) + 1, len(self.rows) + 1 + count)
        changed = {"replace": list(self.rows), "merge": list(self.rows)[:: self.batch % 5 + 2], "append": []}
        new = [
            (number, self.batch, f"note {number} of {self.batch}") for number in [*changed[self.mode], *added]
        ]
        self.rows |= {row[0]: row for row in new}
        # Before the source has it: a reader may be quicker than the line after this one.
        self._places[frozenset(self.rows.values())] = self.batch
        return new

    def place(self, rows: frozenset[Row]) -> int | None:
        """Return which state these rows are; None: the source has never held them."""
        return self._places.get(rows)


class Source(Protocol):
    """One table of a system."""

    def config(self) -> dict[str, Any]:
        """Return a pipeline's `source`."""

    def write(self, rows: list[Row]) -> None:
        """Insert or replace the rows, in one transaction."""

    def close(self) -> None:
        """Remove it."""


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


def incremental(mode: str) -> dict[str, Any]:
    """Return the keys of a source for a mode."""
    return {} if mode == "replace" else {"sync_mode": "incremental", "cursor_field": "batch"}


class PostgresSource:
    """A table of PostgreSQL, which the platform reaches through a proxy."""

    def __init__(self, name: str, mode: str, *, direct_url: str, url: str) -> None:
        self.name, self.mode, self._direct, self._url = name, mode, direct_url, url
        key = "PRIMARY KEY" if mode == "merge" else ""
        self._do(f"CREATE TABLE {name} (id bigint {key}, batch bigint NOT NULL, note text)", [()])

    def config(self) -> dict[str, Any]:
        return {
            "name": "postgres",
            "url": self._url,
            "stream": f"public.{self.name}",
            **incremental(self.mode),
        }

    def write(self, rows: list[Row]) -> None:
        insert = f"INSERT INTO {self.name} VALUES (%s, %s, %s)"
        ids = [row[0] for row in rows]
        with psycopg.connect(self._direct) as session:
            session.execute(f"DELETE FROM {self.name} WHERE id = ANY(%s)", (ids,))
            session.cursor().executemany(insert, rows)

    def close(self) -> None:
        self._do(f"DROP TABLE {self.name}", [()])

    def _do(self, statement: str, values: list[tuple[Any, ...]]) -> None:
        with psycopg.connect(self._direct) as session:
            session.cursor().executemany(statement, values)


class SqliteSource:
    """A table of a SQLite file."""

    def __init__(self, name: str, mode: str, folder: Path) -> None:
        self.mode, self.path = mode, folder / f"{name}.sqlite"
        key = "PRIMARY KEY" if mode == "merge" else ""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(f"CREATE TABLE things (id INTEGER {key}, batch INTEGER NOT NULL, note TEXT)")

    def config(self) -> dict[str, Any]:
        return {"name": "sqlite", "path": str(self.path), "stream": "things", **incremental(self.mode)}

    def write(self, rows: list[Row]) -> None:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            connection.executemany("DELETE FROM things WHERE id = ?", [(row[0],) for row in rows])
            connection.executemany("INSERT INTO things VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """The folder goes with the history."""


class RestSource:
    """A list of a REST server, in one answer, so that each reading is of one moment."""

    def __init__(self, name: str, mode: str, server: "RestServer", *, seconds: float) -> None:
        self.name, self.mode, self._server = name, mode, server
        self._rows: dict[int, Row] = {}
        server.lists[name] = ({}, seconds)

    def config(self) -> dict[str, Any]:
        found = {
            "name": "rest", "stream": self.name, "base_url": self._server.url, "path": f"/{self.name}",
            "data_selector": "data", "paginator": "single_page",
        }  # fmt: skip
        if self.mode != "replace":
            found["sync_mode"] = "incremental"
            found["incremental"] = {"cursor_path": "batch", "start_param": "since", "initial_value": 0}
        if self.mode == "merge":
            found["primary_key"] = "id"
        return found

    def write(self, rows: list[Row]) -> None:
        held, seconds = self._server.lists[self.name]
        self._server.lists[self.name] = (held | {row[0]: row for row in rows}, seconds)

    def close(self) -> None:
        del self._server.lists[self.name]


class RestServer:
    """Answers `GET /<list>?since=<batch>` with `{"data": [...]}`, after a while."""

    def __init__(self) -> None:
        self.lists: dict[str, tuple[dict[int, Row], float]] = {}
        handler = type("Handler", (_Handler,), {"lists": self.lists})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lists: ClassVar[dict[str, tuple[dict[int, Row], float]]]

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        since = int(parse_qs(asked.query).get("since", ["0"])[0])
        rows, seconds = self.lists.get(asked.path[1:], ({}, 0.0))
        threading.Event().wait(seconds)
        listed = [
            dict(zip(("id", "batch", "note"), row, strict=True)) for row in rows.values() if row[1] >= since
        ]
        content = json.dumps({"data": listed}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


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


@contextmanager
def rest_server() -> Iterator[RestServer]:
    """Serve lists."""
    server = RestServer()
    try:
        yield server
    finally:
        server.close()
