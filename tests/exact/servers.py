"""The servers that histories share: one PostgreSQL, one MariaDB where the machine has it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import psycopg
import pymysql
from mariadb_server import MariaDBServer, is_installed, run_mariadb
from postgres_server import PostgresServer, run_postgres


@dataclass(kw_only=True)
class Servers:
    """Running servers with one schema and one database for all histories of a process.

    The harness keeps one session of its own in each; histories tell their tables apart by fresh names.
    """

    postgres: PostgresServer
    mariadb: MariaDBServer | None
    postgres_url: str = ""
    postgres_schema: str = "exact"
    mysql_database: dict[str, Any] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _postgres: "list[psycopg.Connection]" = field(default_factory=list)
    _mysql: list[Any] = field(default_factory=list)

    def __enter__(self) -> "Servers":
        self.postgres_url = self.postgres.fresh_database()
        self._stack.callback(self.postgres.drop_database, self.postgres_url)
        # Never prepared: columns come and go between two executions of a statement.
        session = psycopg.connect(self.postgres_url, autocommit=True, prepare_threshold=None)
        self._postgres.append(self._stack.enter_context(session))
        self._postgres[0].execute(f"CREATE SCHEMA {self.postgres_schema}".encode())
        if self.mariadb is not None:
            self.mysql_database = self.mariadb.fresh_database()
            self._stack.callback(self.mariadb.drop_database, self.mysql_database)
            self._mysql.append(pymysql.connect(**self.mysql_database, charset="utf8mb4"))
            # Encryption is tested elsewhere; to read the authorities takes longer than a small load.
            self.mysql_database["tls"] = "disable"
            self._stack.callback(self._mysql[0].close)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def of_process(self, number: int) -> "Servers":
        """Return the same servers for a process of that number, whose databases have names of their own."""
        first = count(1 + 1_000 * number)
        mariadb = replace(self.mariadb, _numbers=first) if self.mariadb else None
        return Servers(postgres=replace(self.postgres, _numbers=first, _admin=[]), mariadb=mariadb)

    @property
    def systems(self) -> frozenset[str]:
        """The names of the sources and targets that there are."""
        others = {"sqlite", "duckdb", "postgres", "files", "csv", "parquet", "jsonl", "rest", "python"}
        return frozenset(others | ({"mysql"} if self.mariadb else set()))

    @contextmanager
    def postgres_session(self) -> "Iterator[psycopg.Connection]":
        """Give the session for one transaction."""
        with self._postgres[0].transaction():
            yield self._postgres[0]

    def mysql_session(self) -> Any:
        """Return the session, between two transactions."""
        assert self._mysql, "systems without a server are left out"
        return self._mysql[0]

    def fresh_name(self, start: str) -> str:
        """Return a name that nothing else has."""
        return f"{start}_{next(self._numbers)}"


@contextmanager
def run_servers() -> Iterator[Servers]:
    """Run the servers until the block ends; each process that uses them enters them."""
    with ExitStack() as stack:
        postgres = stack.enter_context(run_postgres())
        mariadb = stack.enter_context(run_mariadb()) if is_installed() else None
        yield Servers(postgres=postgres, mariadb=mariadb)
