"""A line: a source, a destination, the pipeline between them, and what must be in the destination."""

import sqlite3
import threading
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import destinations
import psycopg
import pymysql
from fault_world import World
from servers import Servers
from source_system import Place

from headrace.connectors.file.records import tag

POLICY = {"max_attempts": 2, "retry_delay_seconds": 1, "timeout_seconds": 40}
_READ_SECONDS = 0.15
_OWN = {"things", "_headrace_loads"}


@dataclass
class Line:
    """One pipeline of a world. `mode` is append, merge or full_refresh."""

    world: World
    target_name: str
    mode: str = "append"
    rows: dict[int, str] = field(default_factory=dict)
    pipeline_id: str = ""

    def __post_init__(self) -> None:
        self.folder: Path = self.world.folder / f"line-{uuid4().hex[:12]}"
        self.folder.mkdir()
        self.source = self.folder / "source.sqlite"
        # Its own databases and sessions: lines are played at the same time.
        self._own = ExitStack()
        servers = self.world.servers
        self.servers = self._own.enter_context(Servers(postgres=servers.postgres, mariadb=servers.mariadb))
        place = Place(folder=self.folder, connectors=self.folder, servers=self.servers)
        self.target: Any = destinations.TARGETS[self.target_name](place)
        with closing(sqlite3.connect(self.source)) as connection, connection:
            connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, changed INTEGER)")

    def create(self, **more: Any) -> "Line":
        """Store the pipeline."""
        sync = {} if self.mode == "full_refresh" else {"sync_mode": "incremental", "cursor_field": "changed"}
        config = {
            "name": self.folder.name,
            "source": {"name": "sqlite", "path": str(self.source), "stream": "things", **sync},
            "destination": self.target.config(),
        }
        body = {"name": self.folder.name, "config": config, "policy": POLICY, **more}
        answer = self.world.insist("POST", "/pipelines", body, **{"Idempotency-Key": str(uuid4())})
        assert answer.status_code == 201, answer.text
        self.pipeline_id = answer.json()["id"]
        return self

    @property
    def writer(self) -> str:
        """The subject of the points at files."""
        return tag(self.pipeline_id)

    def add(self, count: int) -> None:
        """Add rows to the source."""
        first = len(self.rows)
        new = {number: f"thing {number}" for number in range(first, first + count)}
        with closing(sqlite3.connect(self.source)) as connection, connection:
            connection.executemany(
                "INSERT INTO things VALUES (?, ?, ?)",
                [(number, name, number) for number, name in new.items()],
            )
        self.rows |= new

    def found(self) -> Counter[tuple[int, str]] | None:
        """Return what is in the destination; None where there is no table."""
        rows = self.target.rows()
        return None if rows is None else Counter((int(row["id"]), str(row["name"])) for row in rows)

    def difference(self) -> str:
        """Say how the destination differs from the source; empty if it does not."""
        found, wanted = self.found() or Counter(), Counter(self.rows.items())
        if found == wanted:
            return ""
        return (
            f"missing {sorted((wanted - found).elements())}, too many {sorted((found - wanted).elements())}"
        )

    def leftovers(self) -> list[str]:
        """Return what loads have left behind that is nobody's."""
        look = {"postgres": self._tables_of_postgres, "mysql": self._tables_of_mysql}.get(self.target_name)
        if look is not None:
            return [name for name in look() if name not in (self.target.table, *_OWN)]
        if self.target_name == "parquet":
            return self._strays()
        return [path.name for path in self.folder.iterdir() if path.name.endswith(("-journal", ".wal"))]

    def _tables_of_postgres(self) -> list[str]:
        with self.servers.postgres_session() as connection:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
            return [name for (name,) in connection.execute(query, [self.servers.postgres_schema])]

    def _tables_of_mysql(self) -> list[str]:
        with self.servers.mysql_session().cursor() as cursor:
            cursor.execute("SHOW TABLES")
            return [name for (name,) in cursor.fetchall()]

    def _strays(self) -> list[str]:
        files = [path for path in self.target.folder.rglob("*") if path.is_file()]
        unfinished = [path.name for path in files if path.name.endswith(".unfinished")]
        data = [path for path in files if path.suffix == ".parquet"]
        if self.mode == "full_refresh" or unfinished:
            return unfinished + [path.name for path in data if path.name != "things.parquet"]
        (record,) = (self.target.folder / "_headrace").glob("*.json")
        return [path.name for path in data if path.name not in record.read_text()]

    def close(self) -> None:
        """Remove what lies outside of the folder."""
        self.target.close()
        self._own.close()


class Reader(threading.Thread):
    """Counts a destination's rows again and again, while loads are under way."""

    def __init__(self, line: Line) -> None:
        super().__init__(daemon=True)
        self.line = line
        self.seen: set[int] = set()
        self.failures: set[str] = set()
        self._done = threading.Event()

    def run(self) -> None:
        """Count."""
        while not self._done.wait(_READ_SECONDS):
            try:
                found = self.line.found()
            except (psycopg.OperationalError, pymysql.OperationalError, sqlite3.OperationalError):
                continue  # a moment of the servers' own
            except Exception as error:
                self.failures.add(f"{type(error).__name__}: {error}"[:200])
                continue
            self.seen.add(0 if found is None else sum(found.values()))

    def __enter__(self) -> "Reader":
        # DuckDB lets nobody else open a file that is written to.
        if self.line.target_name != "duckdb":
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self.ident is not None:
            self.join()
