"""HTTP to addresses that a user names: each address is checked when it is connected to, redirects included.

Checking the name first and connecting later would let a name's owner change the answer in between, so the
check sits in the connection itself and the connection goes to the very address that was checked. The bounds
on waiting sit there, too, so they hold for clients of others that are made to use these connections.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from headrace.connectors.kit.network.deadlines import PacedReader, ended_after
from headrace.connectors.kit.network.names import CONNECT_SECONDS, addresses_of

_READ_SECONDS = 60.0
_PIECE = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What holds for each connection of a pool."""

    connect: float = CONNECT_SECONDS  # seconds to look the name up, connect and agree on TLS
    read: float | None = None  # seconds without a byte; None: what the client has set
    answer: float | None = None  # seconds for an answer as a whole; None: as long as it makes progress
    is_checked: bool = True  # whether the address must be an allowed one


def connect(
    host: str, port: int, seconds: float = CONNECT_SECONDS, options: Any = None, *, is_checked: bool = True
) -> socket.socket:
    """Connect to the first allowed address that answers, within so many seconds.

    Raises ForbiddenAddress when there is none, and OSError when none answers.
    """
    ends = time.monotonic() + seconds
    broken: OSError = TimeoutError("connecting took too long")
    for address in addresses_of(host, port, seconds, is_checked=is_checked):
        left = ends - time.monotonic()
        if left <= 0:
            break
        try:
            return urllib3.util.connection.create_connection((address, port), left, socket_options=options)
        except OSError as error:
            broken = error
    raise broken


def pool_manager(bounds: Bounds = Bounds()) -> urllib3.PoolManager:
    """Return pools whose connections go to allowed addresses only: others raise ForbiddenAddress."""
    pools = urllib3.PoolManager()
    guard(pools, bounds)
    return pools


def guard(pools: urllib3.PoolManager, bounds: Bounds = Bounds()) -> None:
    """Let pools that somebody else made use such connections."""
    pools.pool_classes_by_scheme = _pool_classes(bounds)


@contextmanager
def bounded_pools(bounds: Bounds) -> Iterator[None]:
    """Let every pool of this process use such connections in the block: for libraries that make their own."""
    made = urllib3.poolmanager.pool_classes_by_scheme
    before = dict(made)
    made.update(_pool_classes(bounds))
    try:
        yield
    finally:
        made.update(before)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate is the reason of an error."""
    while error is not None:
        reason = getattr(error, "reason", None) or next(iter(error.args), None)
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = reason if isinstance(reason, BaseException) else error.__cause__
    return False


def _pool_classes(bounds: Bounds) -> dict[str, Any]:
    return {
        "http": _bounded(HTTPConnectionPool, _HTTP, bounds),
        "https": _bounded(HTTPSConnectionPool, _HTTPS, bounds),
    }


def _bounded(pool: type[Any], connection: type[Any], bounds: Bounds) -> type[Any]:
    made = type(connection.__name__, (connection,), {"bounds": bounds})
    return type(pool.__name__, (pool,), {"ConnectionCls": made})


class _Answer(http.client.HTTPResponse):
    """An answer that must come in time."""

    def __init__(self, opened: socket.socket, *args: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(opened, *args, **options)
        self.fp.close()
        silent = bounds.read or opened.gettimeout() or _READ_SECONDS
        self._reader = PacedReader(opened, silent=silent, answer=bounds.answer)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the headers. Python takes those that are cut off for whole, and a missing body for empty."""
        super().begin()
        if self._reader.is_ended:
            raise http.client.RemoteDisconnected("the answer ended within its headers")


class _Guarded:
    """The part of a connection that opens its socket and reads from it."""

    bounds: ClassVar[Bounds]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        connection: Any = self
        connection.response_class = partial(_Answer, bounds=self.bounds)

    def send(self, data: Any) -> None:
        """Send in pieces, each in time: what a client sends at once may be a hundred megabytes."""
        connection: Any = super()
        if not isinstance(data, bytes):
            connection.send(data)
            return
        for start in range(0, len(data), _PIECE):
            connection.send(data[start : start + _PIECE] if len(data) > _PIECE else data)

    def _new_conn(self) -> socket.socket:
        connection: Any = self
        where, bounds = (connection._dns_host, connection.port), self.bounds
        try:
            return connect(*where, bounds.connect, connection.socket_options, is_checked=bounds.is_checked)
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(connection.host, connection, error) from None
        except TimeoutError:
            raise urllib3.exceptions.ConnectTimeoutError(connection, "connecting took too long") from None
        except OSError:
            raise urllib3.exceptions.NewConnectionError(connection, "no connection") from None


class _HTTP(_Guarded, HTTPConnection):
    pass


class _HTTPS(_Guarded, HTTPSConnection):
    def connect(self) -> None:
        self._ends = time.monotonic() + self.bounds.connect
        with ExitStack() as self._opening:
            super().connect()

    def _new_conn(self) -> socket.socket:
        opened = super()._new_conn()
        self._opening.enter_context(ended_after(max(self._ends - time.monotonic(), 0.1), opened))
        return opened
