"""Homes of earlier versions, made by `tests/upgrades/make_homes.py`, as a test can go on with them."""

import json
import multiprocessing
import os
import signal
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from pydantic import SecretStr
from sqlalchemy import event

from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.migrations import migrate

_PRELOADED = [
    "alembic.command",
    "headrace.settings",
    "headrace.store.migrations",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
]
HOMES = Path(__file__).parents[1] / "upgrades" / "homes"


@dataclass(frozen=True, kw_only=True)
class OldHome:
    """An unpacked home, and the database of its records if that is PostgreSQL."""

    folder: Path
    database_url: str | None

    @property
    def settings(self) -> Settings:
        """What today's processes go by."""
        url = SecretStr(self.database_url) if self.database_url else None
        return Settings(home=self.folder / "home", config_dir=self.folder / "config", database_url=url)

    @cached_property
    def expected(self) -> dict[str, Any]:
        """What was put into it."""
        return dict(json.loads((self.folder / "expected.json").read_text()))

    def pipeline(self, name: str) -> UUID:
        """Return the id of a pipeline."""
        return UUID(self.expected["pipelines"][name])

    def run(self, name: str) -> UUID:
        """Return the id of a run."""
        return UUID(self.expected["runs"][name])


def archive_of(version: str, database: str) -> Path:
    """Return the packed home of a version."""
    return HOMES / f"{version}-{database}.tar.xz"


def unpack(version: str, folder: Path, empty_database: str | None) -> OldHome:
    """Unpack a home; its records go into the empty PostgreSQL database, if one is given."""
    archive = archive_of(version, "postgresql" if empty_database else "sqlite")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    for private in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        private.chmod(0o700)
    if empty_database:
        _load(empty_database, (folder / "records.sql").read_text())
    return OldHome(folder=folder, database_url=empty_database)


def _load(url: str, dump: str) -> None:
    # What begins with a backslash is for `psql`.
    statements = "\n".join(line for line in dump.splitlines() if not line.startswith("\\"))
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())


def migrate_until(home: OldHome, statement: int | None) -> int:
    """Migrate in a process that is killed before a statement; return its exit code.

    None: it is killed before the commit, and the number of its statements is returned.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)
    receiver, sender = processes.Pipe(duplex=False)
    worker = processes.Process(target=_migrate, args=(home.settings.sqlalchemy_url, statement, sender))
    worker.start()
    worker.join(60)
    with receiver, sender:
        return int(receiver.recv()) if statement is None else worker.exitcode or 0


def _migrate(url: str, statement: int | None, counted: Any) -> None:
    database = Database(url)
    seen = 0

    def count(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def end(_connection: Any) -> None:
        if statement is None:
            counted.send(seen)
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(database.engine, "before_cursor_execute", count)
    event.listen(database.engine, "commit", end)
    migrate(database)
