"""HTTP to addresses that a user names: each address is checked when it is connected to, redirects included.

Checking the name first and connecting later would let a name's owner change the answer in between, so the
check sits in the connection itself and the connection goes to the very address that was checked.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import IO, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from headrace.connectors import Unauthorized, Unreachable, Unreadable
from headrace.connectors.kit.network.addresses import ForbiddenAddress, is_allowed
from headrace.connectors.kit.network.bodies import pieces

_CHUNK = 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=10, read=60)


class Changed(Exception):
    """What lies at a URL was changed since it was asked about. It never reaches a user."""


def download(
    url: str, headers: Mapping[str, str], target: IO[bytes], unless_changed: datetime | None = None
) -> Iterator[int]:
    """Copy what lies at a URL into a file, in bounded memory; yield the bytes so far, for each MiB.

    Retries what may pass (429, 5xx, broken connections) three times. Raises ConnectorError; no text of it
    holds the URL, whose query may be secret. Raises Changed where the server says that it was changed.
    """
    sent = dict(headers)
    if unless_changed is not None:
        sent["If-Unmodified-Since"] = format_datetime(unless_changed.astimezone(UTC), usegmt=True)
    with _answer("GET", url, sent) as answer:
        if answer.status == 412 and unless_changed is not None:
            raise Changed
        _check_status(answer.status)
        size = 0
        for chunk in pieces(answer, _CHUNK):
            target.write(chunk)
            size += len(chunk)
            yield size


def last_modified(url: str, headers: Mapping[str, str]) -> datetime | None:
    """Ask when what lies at a URL was changed; None where the server does not say. Raises ConnectorError."""
    with _answer("HEAD", url, headers) as answer:
        _check_status(answer.status)
        try:
            moment = parsedate_to_datetime(answer.headers.get("Last-Modified", ""))
        except ValueError:
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextlib.contextmanager
def _answer(method: str, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
    # Every header may be a credential, so none follows a redirect to another host.
    retries = urllib3.Retry(
        total=3,
        redirect=5,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        remove_headers_on_redirect=list(headers),
    )
    with pool_manager() as pools, _http_errors():
        answer = pools.request(
            method, url, headers=dict(headers), retries=retries, timeout=_TIMEOUT, preload_content=False
        )
        with contextlib.closing(answer):
            yield answer


def connect(host: str, port: int, timeout: Any, options: Any = None) -> socket.socket:
    """Connect to the first allowed address that answers.

    Raises ForbiddenAddress when there is none, and OSError when none answers.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    allowed = [entry for entry in found if is_allowed(ipaddress.ip_address(str(entry[4][0]).split("%")[0]))]
    if not allowed:
        raise ForbiddenAddress("The host resolves to an address that connectors may not connect to.")
    broken: OSError | None = None
    for entry in allowed:
        address = (str(entry[4][0]), port)
        try:
            return urllib3.util.connection.create_connection(address, timeout, socket_options=options)
        except OSError as error:
            broken = error
    assert broken is not None
    raise broken


class _Guarded:
    """The part of a connection that opens its socket."""

    def _new_conn(self) -> socket.socket:
        connection: Any = self
        try:
            return connect(
                connection._dns_host, connection.port, connection.timeout, connection.socket_options
            )
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(connection.host, connection, error) from None
        except TimeoutError:
            raise urllib3.exceptions.ConnectTimeoutError(connection, "connecting took too long") from None
        except OSError:
            raise urllib3.exceptions.NewConnectionError(connection, "no connection") from None


class _HTTP(_Guarded, HTTPConnection):
    pass


class _HTTPS(_Guarded, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPS


def pool_manager() -> urllib3.PoolManager:
    """Return pools whose connections go to allowed addresses only: others raise ForbiddenAddress."""
    pools = urllib3.PoolManager()
    guard(pools)
    return pools


def guard(pools: urllib3.PoolManager) -> None:
    """Let pools that somebody else made connect to allowed addresses only."""
    pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


def _check_status(status: int) -> None:
    if status in (401, 403):
        raise Unauthorized(f"The server answered {status}.")
    if status == 429 or status >= 500:
        raise Unreachable(f"The server answered {status}.")
    if status != 200:
        raise Unreadable(f"The server answered {status}.")


@contextlib.contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.LocationParseError:
        raise Unreadable("The URL cannot be understood.") from None
    except urllib3.exceptions.MaxRetryError as error:
        if isinstance(error.reason, urllib3.exceptions.ResponseError):
            raise Unreadable("The server redirects too often.") from None
        raise Unreachable(f"The server cannot be reached: {type(error.reason).__name__}.") from None
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(f"The transfer broke off: {type(error).__name__}.") from None
