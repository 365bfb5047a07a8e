"""Ends a connection whose other side has fallen silent, which a driver would wait for without an end.

A network that swallows packets, or a server that was stopped, sends nothing, not even an error. A long
statement sends nothing either. So after a while of silence the watch asks the server, over another
connection, what it is doing for this one. Bytes that drip are silence, too.
"""

import os
import socket
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from headrace.connectors.kit.network.deadlines import LEAST_BYTES
from headrace.connectors.kit.network.limits import DatabaseLimits

_PATIENCE = 15
"""How many times as long a server is waited for that answers and cannot tell, as behind some poolers."""
_DESCRIPTORS = Path("/dev/fd")

Doing = Literal["working", "nothing", "unknown"]
"""What the server does for a connection: a statement; nothing, so it waits for us as we wait for it."""
T = TypeVar("T")


class Watch:
    """Watches one connection. It counts only the time in which its user waits for the server."""

    ask: Callable[[], Doing]
    """Asks the server. Until it is set, a silent server counts as gone."""

    def __init__(self, watched: socket.socket, limits: DatabaseLimits) -> None:
        """Watch a duplicate of the connection's socket, which this closes in the end.

        After `read_timeout` with less than LEAST_BYTES the server is asked. It has twice `connect_timeout` to
        answer.
        """
        self.ask = lambda: "nothing"
        self._socket = watched
        self._seconds, self._answer_seconds = limits.read_timeout, 2 * limits.connect_timeout
        self._since: float | None = None
        self._asked_at = 0.0
        self._moved, self._moved_at = 0, time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="silence", daemon=True)
        self._thread.start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Say that the block waits for the server."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def close(self) -> None:
        """Watch no longer."""
        self._done.set()
        self._thread.join(self._seconds)
        self._socket.close()

    def _keep(self) -> None:
        while not self._done.wait(self._seconds / 8):
            self._look_at_bytes()
            since = self._since
            if since is None or (silent := self._silent_for(since)) < self._seconds:
                continue
            if time.monotonic() - self._asked_at < self._seconds:
                continue
            self._asked_at = time.monotonic()
            doing = _in_time(self.ask, self._answer_seconds)
            is_gone = doing == "nothing" or (doing == "unknown" and silent > _PATIENCE * self._seconds)
            if is_gone and self._since == since:
                # The driver's read ends, as if the server had closed the connection.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return

    def _look_at_bytes(self) -> None:
        moved = _bytes_moved(self._socket)
        if moved is not None and moved - self._moved >= LEAST_BYTES:
            self._moved, self._moved_at = moved, time.monotonic()

    def _silent_for(self, since: float) -> float:
        """Return for how long hardly a byte has come or gone, of the time since."""
        return time.monotonic() - max(since, self._moved_at)


def opened(connect: Callable[[], T], *, ports: Collection[str]) -> tuple[T, socket.socket | None]:
    """Return a new connection to one of the ports, and a duplicate of its socket: drivers in C keep it.

    None where another thread connected to the same port at the same time.
    """
    before = _sockets()
    connection = connect()
    new = _sockets() - before
    found = [known for fd, _ in new if (known := _connected_socket(fd, ports)) is not None]
    if len(found) == 1:
        return connection, found[0]
    for known in found:
        known.close()
    return connection, None


def _in_time(ask: Callable[[], Doing], seconds: float) -> Doing:
    answers: list[Doing] = []

    def answer() -> None:
        try:
            answers.append(ask())
        except Exception:  # it says nothing of the connection
            answers.append("unknown")

    thread = threading.Thread(target=answer, name="silence-ask", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else "nothing"


def _sockets() -> set[tuple[int, int]]:
    """Return this process's sockets, each with its inode: a number is used again when it is free."""
    found = set()
    with suppress(OSError):
        for number in [int(path.name) for path in _DESCRIPTORS.iterdir()]:
            with suppress(OSError):  # the listing's own is closed by now
                status = os.fstat(number)
                if stat.S_ISSOCK(status.st_mode):
                    found.add((number, status.st_ino))
    return found


def _connected_socket(descriptor: int, ports: Collection[str]) -> socket.socket | None:
    try:
        known = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None
    with suppress(OSError):
        if _port_of(known) in ports:
            return known
    known.close()
    return None


def _port_of(known: socket.socket) -> str:
    """Return the port of the other side; of PostgreSQL's local sockets it is the end of the file's name."""
    if known.family in (socket.AF_INET, socket.AF_INET6):
        return str(known.getpeername()[1])
    return str(known.getpeername()).rpartition(".")[2] if known.family == socket.AF_UNIX else ""


def _bytes_moved(known: socket.socket) -> int | None:
    """Return how many bytes the other side took and sent (Linux; struct tcp_info of tcp(7)); else None."""
    if sys.platform != "linux":
        return None
    try:
        info = known.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
        taken, received = struct.unpack_from("=2Q", info, 120)  # tcpi_bytes_acked, tcpi_bytes_received
    except (OSError, struct.error):  # no TCP, or a kernel before 4.2
        return None
    return int(taken + received)
