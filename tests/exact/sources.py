"""Sources that a history changes by hand: each in the system's own way, and never through Headrace."""

import csv
import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs, urlsplit

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
from model import Column, Row, Table
from servers import Servers


class SourceSystem(Protocol):
    """One table in one system."""

    name: ClassVar[str]
    lacks: ClassVar[frozenset[str]]
    """Kinds of values that the system cannot hold."""

    incremental: ClassVar[bool]

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        """Return the pipeline's `source`."""

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Bring the system to the table's state: `changed` has the new and changed rows, None for deleted."""

    def close(self) -> None:
        """Remove what was made."""


class _Sql:
    """What the SQL systems share: the table `things`, and a hidden column that tells its rows apart."""

    incremental: ClassVar[bool] = True
    types: ClassVar[dict[str, str]]
    mark: ClassVar[str] = "?"
    quote: ClassVar[str] = '"'
    relation = "things"
    primary_key: str | None = None

    def _execute(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        raise NotImplementedError

    def _name(self, name: str) -> str:
        return f"{self.quote}{name}{self.quote}"

    def _value(self, value: Any) -> Any:
        return value

    def create(self, table: Table, key: str | None) -> None:
        """Make the empty table."""
        columns = [f"{self._name(column.name)} {self.types[column.kind]}" for column in table.columns]
        if key:
            columns.append(f"PRIMARY KEY ({self._name(key)})")
        self._execute([(f"CREATE TABLE {self.relation} ({', '.join(columns)})", ())])

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Add the columns, delete the rows that changed by all their former values, insert them anew."""
        statements: list[tuple[str, tuple[Any, ...]]] = [
            (f"ALTER TABLE {self.relation} ADD COLUMN {self._name(one.name)} {self.types[one.kind]}", ())
            for one in added
        ]
        key = self._name("id")
        for number, row in changed.items():
            statements.append((f"DELETE FROM {self.relation} WHERE {key} = {self.mark}", (number,)))
            if row is not None:
                names = list(row)
                listed = ", ".join(map(self._name, names))
                marks = ", ".join(self.mark for _ in names)
                values = tuple(self._value(row[name]) for name in names)
                statements.append((f"INSERT INTO {self.relation} ({listed}) VALUES ({marks})", values))
        self._execute(statements)


class SqliteSource(_Sql):
    """A table of a SQLite file."""

    name: ClassVar[str] = "sqlite"
    lacks: ClassVar[frozenset[str]] = frozenset()
    types: ClassVar[dict[str, str]] = {
        "integer": "INTEGER", "boolean": "INTEGER", "double": "REAL", "decimal": "TEXT", "text": "TEXT",
        "date": "TEXT", "timestamp": "TEXT", "moment": "TEXT", "json": "TEXT", "bytes": "BLOB",
    }  # fmt: skip

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.path = folder / "source.sqlite"

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        return {"name": "sqlite", "path": str(self.path), "stream": "things", **sync}

    def _value(self, value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        return str(value) if isinstance(value, Decimal | dt.date) else value

    def _execute(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement, values in statements:
                connection.execute(statement, values)

    def close(self) -> None:
        """The folder goes with the history."""


class DuckdbSource(_Sql):
    """A table of a DuckDB file."""

    name: ClassVar[str] = "duckdb"
    lacks: ClassVar[frozenset[str]] = frozenset()
    types: ClassVar[dict[str, str]] = {
        "integer": "BIGINT", "boolean": "BOOLEAN", "double": "DOUBLE", "decimal": "DECIMAL(30,6)",
        "text": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP", "moment": "TIMESTAMPTZ", "json": "JSON",
        "bytes": "BLOB",
    }  # fmt: skip

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.path = folder / "source.duckdb"

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        return {"name": "duckdb", "path": str(self.path), "stream": "main.things", **sync}

    def _execute(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        with duckdb.connect(str(self.path)) as connection:
            for statement, values in statements:
                connection.execute(statement, list(values))

    def close(self) -> None:
        """The folder goes with the history."""


class PostgresSource(_Sql):
    """A table of a PostgreSQL schema of its own."""

    name: ClassVar[str] = "postgres"
    lacks: ClassVar[frozenset[str]] = frozenset()
    mark: ClassVar[str] = "%s"
    types: ClassVar[dict[str, str]] = {
        "integer": "bigint", "boolean": "boolean", "double": "float8", "decimal": "numeric(30,6)",
        "text": "text", "date": "date", "timestamp": "timestamp", "moment": "timestamptz", "json": "jsonb",
        "bytes": "bytea",
    }  # fmt: skip

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.url, self.schema = servers.postgres_url, servers.fresh_name("source")
        self.relation = f"{self.schema}.things"
        self.open: psycopg.Connection | None = None
        self._execute([(f"CREATE SCHEMA {self.schema}", ())])

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        return {"name": "postgres", "url": self.url, "stream": self.relation, **sync}

    def _execute(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        with psycopg.connect(self.url) as connection:
            for statement, values in statements:
                connection.execute(statement.encode(), values)

    def begin(self, rows: dict[int, Row]) -> None:
        """Write rows in a transaction that stays open."""
        self.open = psycopg.connect(self.url)
        for row in rows.values():
            listed, marks = ", ".join(map(self._name, row)), ", ".join(self.mark for _ in row)
            statement = f"INSERT INTO {self.relation} ({listed}) VALUES ({marks})"
            self.open.execute(statement.encode(), tuple(row.values()))

    def commit(self) -> None:
        """Commit the transaction."""
        assert self.open is not None, "it was begun"
        self.open.commit()
        self.open.close()
        self.open = None

    def close(self) -> None:
        if self.open is not None:
            self.open.close()
        self._execute([(f"DROP SCHEMA {self.schema} CASCADE", ())])


class MysqlSource(_Sql):
    """A table of a MariaDB database of its own."""

    name: ClassVar[str] = "mysql"
    lacks: ClassVar[frozenset[str]] = frozenset()
    mark: ClassVar[str] = "%s"
    quote: ClassVar[str] = "`"
    types: ClassVar[dict[str, str]] = {
        "integer": "BIGINT", "boolean": "BOOLEAN", "double": "DOUBLE", "decimal": "DECIMAL(30,6)",
        "text": "VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "date": "DATE",
        "timestamp": "DATETIME(6)", "moment": "DATETIME(6)", "json": "JSON", "bytes": "VARBINARY(100)",
    }  # fmt: skip

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.servers, self.where = servers, servers.mysql_database()

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        return {"name": "mysql", **self.where, "stream": "things", **sync}

    def _value(self, value: Any) -> Any:
        if isinstance(value, dt.datetime) and value.tzinfo:
            return value.replace(tzinfo=None)
        return value

    def _execute(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        with closing(pymysql.connect(**self.where, charset="utf8mb4")) as connection:
            with connection.cursor() as cursor:
                for statement, values in statements:
                    cursor.execute(statement, values)
            connection.commit()

    def close(self) -> None:
        self.servers.drop_mysql(self.where)


class FilesSource:
    """A file that is written anew before each run."""

    name: ClassVar[str] = "files"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})
    incremental: ClassVar[bool] = False
    ending: ClassVar[str] = "jsonl"

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.path = folder / f"source.{self.ending}"

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        return {"name": "files", "paths": [str(self.path)], "stream": "things", **sync}

    def create(self, table: Table, key: str | None) -> None:
        """An empty file is written with the first rows."""

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Write the whole table."""
        with self.path.open("w", encoding="utf-8") as lines:
            for row in table.rows.values():
                lines.write(json.dumps(_plain(table, row)) + "\n")

    def close(self) -> None:
        """The folder goes with the history."""


class CsvSource(FilesSource):
    """The same as CSV; a null is an empty field, so that no text may be empty."""

    name: ClassVar[str] = "csv"
    ending: ClassVar[str] = "csv"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes", "text", "json"})

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Write the whole table, with Python's own writer."""
        names = [column.name for column in table.columns]
        with self.path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(names)
            for row in table.rows.values():
                plain = _plain(table, row)
                rows.writerow(["" if plain[name] is None else _csv(plain[name]) for name in names])


class ParquetSource(FilesSource):
    """The same as Parquet."""

    name: ClassVar[str] = "parquet"
    ending: ClassVar[str] = "parquet"
    lacks: ClassVar[frozenset[str]] = frozenset()
    types: ClassVar[dict[str, pa.DataType]] = {
        "integer": pa.int64(), "boolean": pa.bool_(), "double": pa.float64(), "decimal": pa.decimal128(30, 6),
        "text": pa.string(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
        "moment": pa.timestamp("us", "UTC"), "json": pa.string(), "bytes": pa.binary(),
    }  # fmt: skip

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Write the whole table."""
        schema = pa.schema([(column.name, self.types[column.kind]) for column in table.columns])
        names = [column.name for column in table.columns]
        rows = [{name: row.get(name) for name in names} for row in table.rows.values()]
        pq.write_table(pa.Table.from_pylist(rows, schema), self.path)


class RestSource:
    """A JSON API with pages; incremental requests get what is at or after `since`."""

    name: ClassVar[str] = "rest"
    lacks: ClassVar[frozenset[str]] = frozenset({"bytes"})
    incremental: ClassVar[bool] = False

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.rows: list[dict[str, Any]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: self.rows))
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def config(self, sync: dict[str, Any]) -> dict[str, Any]:
        resource = {
            "name": "things",
            "endpoint": {"path": "/things", "data_selector": "data", "paginator": {
                "type": "offset", "limit": 7, "total_path": "total"}},
        }  # fmt: skip
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {"name": "rest", "base_url": address, "resources": [resource], "stream": "things", **sync}

    def create(self, table: Table, key: str | None) -> None:
        """The server holds no rows yet."""

    def write(self, table: Table, changed: dict[int, Row | None], added: list[Column]) -> None:
        """Let the server answer with the whole table."""
        self.rows = [_plain(table, row) for row in table.rows.values()]

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def _handler(rows: Callable[[], list[dict[str, Any]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            offset, limit = int(query.get("offset", 0)), int(query.get("limit", 7))
            body = json.dumps({"data": rows()[offset : offset + limit], "total": len(rows())}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def _plain(table: Table, row: Row) -> dict[str, Any]:
    """A row as JSON: what JSON has no form for as the text that people write."""
    plain = {}
    for column in table.columns:
        value = row.get(column.name)
        if column.kind == "json" and value is not None:
            value = json.loads(value)
        elif isinstance(value, Decimal | dt.date):
            value = format(value, "f") if isinstance(value, Decimal) else value.isoformat()
        plain[column.name] = value
    return plain


def _csv(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


SOURCES = {
    source.name: source
    for source in (
        SqliteSource, DuckdbSource, PostgresSource, MysqlSource,
        FilesSource, CsvSource, ParquetSource, RestSource,
    )
}  # fmt: skip


@contextmanager
def made(name: str, folder: Path, servers: Servers) -> Iterator[Any]:
    """Make a source; remove it at the end."""
    source = SOURCES[name](folder, servers)
    try:
        yield source
    finally:
        source.close()
