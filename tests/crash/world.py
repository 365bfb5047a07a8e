"""Everything that a history plays with: a platform, its records, and the systems that it reads and fills."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from home import Home, stopped
from later import Later
from postgres_server import PASSWORD, PostgresServer, run_postgres
from procfs import family, send
from proxy import Proxy
from tables import RestServer, rest_server

_DISK = "size=48m"


@dataclass(kw_only=True)
class World:
    """One platform with its surroundings. `disk` is a small file system, or a plain folder without root."""

    home: Home
    folder: Path
    disk: Path
    has_small_disk: bool
    data: PostgresServer
    data_proxy: Proxy
    front: Proxy  # before the REST service
    rest: RestServer
    records: PostgresServer | None = None
    records_proxy: Proxy | None = None
    clock: Path | None = None
    later: list["Later"] = field(default_factory=list)
    _heals: list["_Heal"] = field(default_factory=list)
    _is_disturbed: bool = False

    # The world heals by itself after a while, and at once when it is told to.

    def until(self, seconds: float, heal: Callable[[], None]) -> None:
        """Heal a fault after so many seconds."""
        self._heals.append(_Heal(seconds, heal))

    def heal(self) -> None:
        """Heal all faults now."""
        while self._heals:
            self._heals.pop().now()
        for proxy in (self.data_proxy, self.front, self.records_proxy):
            if proxy is not None:
                proxy.heal()
        for file in self.home.faults.iterdir():
            file.unlink(missing_ok=True)

    # Faults of the records

    def disturb_records(self, what: str, seconds: float) -> bool:
        """Begin a fault of the records, for a while; False: they have one already."""
        if self._is_disturbed:
            return False
        self._is_disturbed = True
        end = self._disturb_records(what)

        def heal() -> None:
            end()
            self._is_disturbed = False

        self.until(seconds, heal)
        return True

    def _disturb_records(self, what: str) -> Callable[[], None]:
        if what == "locked":
            return self._lock_records()
        assert self.records is not None
        assert self.records_proxy is not None
        if what == "stopped":
            self.records.stop()
            return self.records.start
        if what == "frozen":
            frozen = family(int((self.records.folder / "data" / "postmaster.pid").read_text().split()[0]))
            send(frozen, signal.SIGSTOP)
            return lambda: send(frozen, signal.SIGCONT)
        if what == "read_only":
            self._set_read_only("on")
            return lambda: self._set_read_only("off")
        return disturb_network(self.records_proxy, what)

    def _set_read_only(self, value: str) -> None:
        assert self.records is not None
        options = "-c default_transaction_read_only=off"
        with psycopg.connect(self.records.url(), autocommit=True, options=options) as session:
            session.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            session.execute("SELECT pg_reload_conf()")

    def _lock_records(self) -> Callable[[], None]:
        connection = sqlite3.connect(
            self.home.home / "headrace.db", isolation_level=None, check_same_thread=False, timeout=10
        )
        connection.execute("BEGIN IMMEDIATE")

        def unlock() -> None:
            with suppress(sqlite3.Error):
                connection.rollback()
            connection.close()

        return unlock

    # Other faults

    def fill_disk(self) -> Callable[[], None]:
        """Fill the small file system; return what frees it."""
        filler = self.disk / "filler"
        if not self.has_small_disk:
            return lambda: None
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"\0" * (1 << 16)):
                pass
        return lambda: filler.unlink(missing_ok=True)

    def move_clock(self, seconds: int) -> Callable[[], None]:
        """Move the clock of the platform's processes; return what moves it back."""
        assert self.clock is not None
        self.clock.write_text(f"{seconds:+d}s")
        return lambda: _write(self.clock, "+0s")


class _Heal:
    """Ends a fault once: after a while, or before that when it is told to."""

    def __init__(self, seconds: float, heal: Callable[[], None]) -> None:
        self._heal, self._lock, self._is_done = heal, threading.Lock(), False
        self._timer = threading.Timer(seconds, self.now)
        self._timer.daemon = True
        self._timer.start()

    def now(self) -> None:
        """End it, unless it has ended."""
        with self._lock:
            if not self._is_done:
                self._heal()
                self._is_done = True


def disturb_network(proxy: Proxy, what: str) -> Callable[[], None]:
    """Begin a fault of the network; return what ends it."""
    if what == "cut":
        proxy.cut()
    elif what == "silent":
        proxy.silence()
    else:
        proxy.slow(0.05)
    return proxy.heal


@contextmanager
def a_world(
    records: str, *, short_leases: bool = True, start: bool = True, with_clock: bool = False
) -> Iterator[World]:
    """Start a platform and its surroundings; remove all of it at the end."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="headrace-crash-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        data = stack.enter_context(run_postgres())
        data_proxy = Proxy(data.port)
        stack.callback(data_proxy.close)
        disk, has_small_disk = _small_disk(folder, stack)
        clock, environment = _clock(folder) if with_clock else (None, {})
        more = {} if short_leases else {"lease_seconds": None}
        kept, proxy, urls = _records(records, stack)
        home = Home(folder=folder, environment=environment, **urls, **more)
        front = Proxy(home.port)
        stack.callback(front.close)
        stack.enter_context(stopped(home))
        world = World(
            home=home, folder=folder, disk=disk, has_small_disk=has_small_disk, data=data,
            data_proxy=data_proxy, front=front, rest=stack.enter_context(rest_server()), records=kept,
            records_proxy=proxy, clock=clock,
        )  # fmt: skip
        stack.callback(world.heal)
        if start:
            home.start()
            home.wait_ready()
        yield world


def clock_library() -> str | None:
    """Return the library of libfaketime that a variable names; None: clocks are not moved.

    It is not looked for: release 0.9.10 breaks `time.sleep` of Python 3.11, and then nothing works.
    """
    return os.environ.get("HEADRACE_TEST_FAKETIME")


def _records(
    records: str, stack: ExitStack
) -> tuple[PostgresServer | None, Proxy | None, dict[str, str | None]]:
    if records == "sqlite":
        return None, None, {}
    server = stack.enter_context(run_postgres())
    proxy = Proxy(server.port)
    stack.callback(proxy.close)
    through = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{proxy.port}/postgres"
    return server, proxy, {"database_url": through, "direct_url": server.url()}


def _small_disk(folder: Path, stack: ExitStack) -> tuple[Path, bool]:
    disk = folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        return disk, False
    if subprocess.run([mount, "-t", "tmpfs", "-o", _DISK, "none", disk], capture_output=True).returncode:
        return disk, False
    stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], capture_output=True)
    return disk, True


def _clock(folder: Path) -> tuple[Path | None, dict[str, str]]:
    library = clock_library()
    if library is None:
        return None, {}
    clock = folder / "clock"
    clock.write_text("+0s")
    return clock, {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _write(path: Path | None, text: str) -> None:
    assert path is not None
    path.write_text(text)
