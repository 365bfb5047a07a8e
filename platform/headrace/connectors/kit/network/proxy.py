"""A proxy on loopback for clients that open their connections themselves.

What connects through it is held to the address policy as everything else is: each name is resolved here, its
addresses are checked, and the connection goes to the very address that was checked.
"""

import base64
import contextlib
import secrets
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import urllib3

from headrace.connectors.kit.network import connections
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.network.limits import NetworkLimits

_HEAD = 64 * 1024
_CHUNK = 256 * 1024


@dataclass
class GuardedProxy:
    """A running proxy."""

    url: str  # with the password that keeps other users of the machine out
    refused: threading.Event = field(default_factory=threading.Event)  # an address was not allowed


@contextlib.contextmanager
def guarded_proxy(limits: NetworkLimits) -> Iterator[GuardedProxy]:
    """Serve until the block ends; then every connection is closed.

    A connection that carries nothing for twice the read time-out is closed, too.
    """
    password = secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = GuardedProxy(url=f"http://headrace:{password}@127.0.0.1:{listener.getsockname()[1]}")
        credentials = base64.b64encode(f"headrace:{password}".encode()).decode()
        server = _Server(listener, f"Basic {credentials}", proxy.refused, limits)
        thread = threading.Thread(target=server.serve, daemon=True, name="guarded-proxy")
        thread.start()
        try:
            yield proxy
        finally:
            server.close()
            thread.join()


class _Server:
    def __init__(
        self, listener: socket.socket, authorization: str, refused: threading.Event, limits: NetworkLimits
    ) -> None:
        self._connect_seconds, self._idle_seconds = limits.connect_timeout, 2 * limits.read_timeout
        self._listener = listener
        self._authorization = authorization
        self._refused = refused
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def serve(self) -> None:
        """Take connections until `close`."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._keep(client):
                return
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def close(self) -> None:
        """End every connection, from any thread."""
        with self._lock:
            self._closed = True
            left = list(self._open)
        for one in (self._listener, *left):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _keep(self, one: socket.socket) -> bool:
        with self._lock:
            self._open.add(one)
            if self._closed:
                one.close()
            return not self._closed

    def _handle(self, client: socket.socket) -> None:
        ends = [client]
        try:
            client.settimeout(self._idle_seconds)
            head, rest = _read_head(client)
            server = self._connected(head, client)
            if server is None:
                return
            ends.append(server)
            if self._keep(server):
                if head.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(_without_authorization(head))
                server.sendall(rest)
                _relay(client, server, self._idle_seconds)
        except (OSError, ValueError):
            pass  # the client sees its connection close
        finally:
            with self._lock:
                self._open.difference_update(ends)
            for end in ends:
                end.close()

    def _connected(self, head: bytes, client: socket.socket) -> socket.socket | None:
        """The connection that a request asks for; None after telling why there is none."""
        if not secrets.compare_digest(_authorization(head), self._authorization):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        host, port = _target(head)
        try:
            server = connections.connect(host, port, self._connect_seconds)
            server.settimeout(self._idle_seconds)
            return server
        except ForbiddenAddress:
            self._refused.set()
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        except (OSError, urllib3.exceptions.HTTPError, UnicodeError):
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        return None


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(_HEAD)
        if not piece or len(received) > _HEAD:
            raise ValueError("no request")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _target(head: bytes) -> tuple[str, int]:
    method, place, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    parts = urlsplit(f"//{place}" if method == "CONNECT" else place)
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or 80


def _authorization(head: bytes) -> str:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "proxy-authorization":
            return value.strip()
    return ""


def _without_authorization(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"proxy-authorization:"))


def _relay(client: socket.socket, server: socket.socket, idle_seconds: float) -> None:
    """Copy both ways until one side has ended and the other is quiet, or both have ended."""
    other = {client: server, server: client}
    reading = [client, server]
    while reading:
        ready, _, _ = select.select(reading, [], [], idle_seconds)
        if not ready:
            return
        for end in ready:
            piece = end.recv(_CHUNK)
            if piece:
                other[end].sendall(piece)
                continue
            reading.remove(end)
            with contextlib.suppress(OSError):
                other[end].shutdown(socket.SHUT_WR)
