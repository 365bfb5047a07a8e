"""Sources that grow and the destinations that must follow: rows are `(id, batch, note)`.

The driver remembers each state that a source has had. A destination must always equal one of them, and never
an older one than before: whatever else it shows is a part of a load, a loss or a repetition.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs, urlsplit

import psycopg

Row = tuple[int, int, str]


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
        with suppress(OSError):  # a worker that was killed meanwhile takes no answer
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def rest_server() -> Iterator[RestServer]:
    """Serve lists."""
    server = RestServer()
    try:
        yield server
    finally:
        server.close()
