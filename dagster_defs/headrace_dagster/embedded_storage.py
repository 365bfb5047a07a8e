"""Dagster's storage in SQLite, made quick: private parts, see `internals`.

Stock Dagster makes an engine for each statement, so that each is compiled anew; looks through all migrations
in each process and once more for each run's log; and makes each of these logs from scratch. That is half a
second of every run's start. The files are the same, and stock Dagster reads them.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster
from dagster._core.storage import sqlite_storage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, NullPool, create_engine, event

_BUSY_SECONDS = 60.0


class Runs(SqliteRunStorage):
    """The runs."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with _engine(self._conn_string).begin() as connection:
            yield connection


class Schedules(SqliteScheduleStorage):
    """The schedules' states and ticks."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with _engine(self._conn_string).begin() as connection:
            yield connection


class RunLogs(SqliteEventLogStorage):
    """The runs' logs, a file each: a new one is a copy of an empty one."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            # Another process may have deleted the run, and its log with it.
            if shard not in self._initialized_dbs or not Path(self.path_for_shard(shard)).exists():
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def delete_events(self, run_id: str) -> None:
        """Remove a run's log: the file too, which stock Dagster leaves behind empty."""
        super().delete_events(run_id)
        with self._db_lock:
            self._initialized_dbs.discard(run_id)
            log = Path(self.path_for_shard(run_id))
            for suffix in ("", "-wal", "-shm"):
                log.with_name(log.name + suffix).unlink(missing_ok=True)

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        file = Path(str(engine.url.database))
        if for_index_shard:
            super()._initdb(engine, for_index_shard)
        elif not file.exists():
            _put(self._empty().read_bytes(), file)

    def _empty(self) -> Path:
        """Return an empty log of this version of Dagster, made once."""
        # Not among the logs, and not named as one: all files there count as runs.
        empty = Path(self._base_dir).parent / f"empty-log-{dagster.__version__}"
        if not empty.exists():
            with tempfile.TemporaryDirectory(dir=empty.parent) as folder:
                made = Path(folder) / "log.db"
                engine = create_engine(f"sqlite:///{made}", poolclass=NullPool)
                super()._initdb(engine)
                _put(made.read_bytes(), empty)
        return empty


class EmbeddedStorage(DagsterSqliteStorage):
    """The three together, in a folder; `is_made`: the files are there and of this version of Dagster."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None, *, is_made: bool) -> None:
        if not is_made:
            super().__init__(base_dir, inst_data)
        self.base_dir = base_dir
        self._inst_data = inst_data
        runs = sqlite_storage._runs_directory(base_dir)
        schedules = sqlite_storage._schedule_directory(base_dir)
        self._run_storage = Runs(create_db_conn_string(runs, "runs"))
        self._event_log_storage = RunLogs(sqlite_storage._event_logs_directory(base_dir))
        self._schedule_storage = Schedules(create_db_conn_string(schedules, "schedules"))


@lru_cache(maxsize=32)
def _engine(url: str) -> Engine:
    # No pool: a connection that a fork inherits spoils the file, and opening one costs less than a commit.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _relax)
    return engine


def _relax(connection: Any, _record: object) -> None:
    # A loss of power may take the last events. The platform's own database, which is the truth, keeps all.
    connection.execute("PRAGMA synchronous = NORMAL")


def _put(content: bytes, file: Path) -> None:
    """Write a file whole, unless it is there by then."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
        try:
            os.link(name, file)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
