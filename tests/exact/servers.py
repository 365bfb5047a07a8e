"""The servers that histories share: one PostgreSQL, one MariaDB where the machine has it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mariadb_server import MariaDBServer, is_installed, run_mariadb
from postgres_server import PostgresServer, run_postgres


@dataclass(kw_only=True)
class Servers:
    """Running servers, and names that nothing else has."""

    postgres: PostgresServer
    mariadb: MariaDBServer | None
    prefix: str = ""  # of the process, where several share the servers
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def postgres_url(self) -> str:
        """The database in which each history makes a schema of its own."""
        return self.postgres.url()

    def fresh_name(self, start: str) -> str:
        """Return a name that nothing else has."""
        return f"{start}_{self.prefix}{next(self._numbers)}"

    def mysql_database(self) -> dict[str, Any]:
        """Make an empty database of MariaDB and return what reaches it."""
        assert self.mariadb is not None, "systems without a server are left out"
        return self.mariadb.fresh_database()

    def drop_mysql(self, where: dict[str, Any]) -> None:
        """Remove a database of `mysql_database`."""
        assert self.mariadb is not None, "systems without a server are left out"
        self.mariadb.drop_database(where)


@contextmanager
def run_servers() -> Iterator[Servers]:
    """Run the servers until the block ends."""
    with ExitStack() as stack:
        postgres = stack.enter_context(run_postgres())
        mariadb = stack.enter_context(run_mariadb()) if is_installed() else None
        yield Servers(postgres=postgres, mariadb=mariadb)
