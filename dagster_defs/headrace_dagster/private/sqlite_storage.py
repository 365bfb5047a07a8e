"""Dagster's SQLite storage with fewer statements compiled, files opened and tables made.

Dagster's own storage makes an engine for each statement, so each statement is compiled again. It closes the
file after each, so SQLite checkpoints its write-ahead log. It checks all migrations in each process and again
for each run's log, and makes each log from scratch. Together that is half a second of every run's start. The
files here are the same, and Dagster's own storage reads them.
"""

import os
import sqlite3
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster
from dagster._core.storage import sqlite_storage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from headrace import scratch

_BUSY_SECONDS = 60.0
_UNFINISHED = ".new-"
_OPEN_LOGS = 8
"""How many run logs a process keeps open. A worker writes one; a webserver reads those that people watch."""


class _PooledFile:
    """A database file that stays open between transactions."""

    _conn_string: str

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a transaction."""
        with _engine(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the file; the next transaction opens it again."""
        _engine(self._conn_string).dispose()


class Runs(_PooledFile, SqliteRunStorage):
    """The runs."""


class Schedules(_PooledFile, SqliteScheduleStorage):
    """The schedules' states and ticks."""


class RunLogs(SqliteEventLogStorage):
    """The logs of runs, one file each. A new file is a copy of an empty log."""

    def __init__(self, base_dir: str) -> None:
        self._open: OrderedDict[str, Connection] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            connection = self._connection(shard)
            with connection.begin():
                yield connection

    def _connection(self, shard: str) -> Connection:
        """Return the open connection to a log, or a new one. The log used longest ago is closed."""
        connection, file = self._open.pop(shard, None), Path(self.path_for_shard(shard))
        if connection is not None and not file.exists():
            # Another process has deleted the run, and its log with it.
            connection.close()
            connection = None
        if connection is None:
            connection = self._open_log(file)
        self._open[shard] = connection
        while len(self._open) > _OPEN_LOGS:
            self._open.popitem(last=False)[1].close()
        return connection

    def delete_events(self, run_id: str) -> None:
        """Delete a run's log with its file. Dagster's own storage leaves an empty file behind."""
        super().delete_events(run_id)
        with self._db_lock:
            if run_id in self._open:
                self._open.pop(run_id).close()
            log = Path(self.path_for_shard(run_id))
            for suffix in ("", "-wal", "-shm"):
                log.with_name(log.name + suffix).unlink(missing_ok=True)

    def _open_log(self, file: Path) -> Connection:
        if not file.exists():
            _put(self._empty().read_bytes(), file)
        _opening.file = file
        return _logs_engine().connect()

    def dispose(self) -> None:
        """Close all logs."""
        with self._db_lock:
            while self._open:
                self._open.popitem()[1].close()
        super().dispose()

    def _empty(self) -> Path:
        """Return an empty log of this version of Dagster, made once for each installation."""
        # Dagster takes every file in the folder of logs for a run, so this one lies beside that folder.
        empty = Path(self._base_dir).parent / f"empty-log-{dagster.__version__}"
        if not empty.exists():
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "log.db"
                engine = create_engine(f"sqlite:///{made}", poolclass=NullPool)
                super()._initdb(engine)
                _put(made.read_bytes(), empty)
        return empty


class EmbeddedStorage(DagsterSqliteStorage):
    """The three storages in one folder. With `is_made`, the files exist and fit this version of Dagster."""

    def __init__(self, base_dir: str, inst_data: Any, *, is_made: bool) -> None:
        if not is_made:
            super().__init__(base_dir, inst_data)
        self.base_dir = base_dir
        self._inst_data = inst_data
        self._run_storage = Runs(_url(sqlite_storage._runs_directory(base_dir), "runs"))
        self._event_log_storage = RunLogs(sqlite_storage._event_logs_directory(base_dir))
        self._schedule_storage = Schedules(_url(sqlite_storage._schedule_directory(base_dir), "schedules"))


def sweep(base_dir: Path) -> None:
    """Remove files that a killed process has not put in their place."""
    logs = Path(sqlite_storage._event_logs_directory(str(base_dir)))
    for folder in (logs, logs.parent):
        scratch.sweep_abandoned(folder, f"{_UNFINISHED}*")


def _url(folder: str, name: str) -> str:
    return f"sqlite:///{Path(folder).absolute() / name}.db"


@cache
def _engine(url: str) -> Engine:
    """Return the engine of a file that a process uses all its life. No fork may inherit a used one."""
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=5, max_overflow=50)
    event.listen(engine, "connect", _relax)
    return engine


_opening = threading.local()


@cache
def _logs_engine() -> Engine:
    """Return the one engine for the logs of all runs, so each statement is compiled once."""
    engine = create_engine("sqlite://", creator=_open_file, poolclass=NullPool)
    event.listen(engine, "connect", _relax)
    return engine


def _open_file() -> sqlite3.Connection:
    # Used by one thread at a time, under the storage's lock.
    return sqlite3.connect(_opening.file, timeout=_BUSY_SECONDS, check_same_thread=False)


def _relax(connection: Any, _record: object) -> None:
    # A power failure may lose the last events. The platform's own database, which is the truth, keeps all.
    connection.execute("PRAGMA synchronous = NORMAL")


def _put(content: bytes, file: Path) -> None:
    """Write a file in one step, unless it exists by then."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=_UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
        try:
            os.link(name, file)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
