"""A small proxy between a connector and its server, which misbehaves on purpose."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Action = Literal[
    "pass",
    "mute",
    "stall",
    "half-open",
    "reset",
    "truncate",
    "drip",
    "change",
    "answer",
    "swallow",
    "done-then-reset",
]
_PIECE = 65536
_DRIP_SECONDS = 0.2  # between two bytes: five a second
_QUIET_SECONDS = 0.3  # after which an answer is taken for whole


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a connection, from the moment that the client sends `word`, a regular expression.

    mute: nothing is answered from the connection's start.
    stall: `after` bytes of the answer pass, then nothing does, on any connection.
    half-open: the same of this connection; no other one can be made, as if the machine had lost its power.
    reset, truncate: the connection is reset, or ends, after so many bytes.
    drip: the rest comes byte by byte, for ever.
    change: `change` makes other bytes of the answer; the connection ends with it.
    answer: the client gets `answer`, and the server does not get the request.
    swallow: the server does not get the word, and the connection is reset.
    done-then-reset: the server gets it, and its answer never arrives.
    """

    action: Action = "pass"
    word: bytes = b""
    after: int = 0
    skip: int = 0  # how often the word may pass first
    change: Callable[[bytes], bytes] = bytes
    answer: bytes = b""


class Peer:
    """Listens on loopback; `fault` may be set at any time and holds for what comes then."""

    def __init__(self, target: int, *, tls: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        """Stand before a port. With `tls` each connection is encrypted from its start.

        `greeting` is PostgreSQL's answer to a client that asks for TLS.
        """
        self.fault = Fault()
        self.hits = 0  # how often the fault has happened
        self._target, self._tls, self._greeting = target, tls, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self._silent = threading.Event()
        self._gone = threading.Event()  # for new connections
        self._seen = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def heal(self) -> None:
        """Be what a network should be, for new connections; the faulty ones end."""
        self.fault = Fault()
        self._silent.clear()
        self._gone.clear()
        self._seen = 0
        self._end_all()

    def close(self) -> None:
        """Stop."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end_all()

    def _end_all(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            self._open.append(client)
            if self._gone.is_set():
                _reset(client)
                return
            if self.fault.action == "mute" or self._silent.is_set():
                self.hits += 1
                self._keep_silent(client)
                return
            client = self._encrypted(client)
            self._open.append(client)
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                self._open.append(server)
                _Connection(self, client, server).relay()

    def _encrypted(self, client: socket.socket) -> socket.socket:
        if self._greeting:
            client.recv(_PIECE)
            client.sendall(self._greeting)
        return self._tls.wrap_socket(client, server_side=True) if self._tls else client

    def _keep_silent(self, client: socket.socket) -> None:
        while not self._closed.wait(0.05):
            if client not in self._open:
                return

    def _is_due(self, data: bytes) -> bool:
        """Whether the fault happens at what the client sends."""
        fault = self.fault
        if fault.action in ("pass", "mute") or re.search(fault.word, data) is None:
            return False
        self._seen += 1
        if self._seen <= fault.skip:
            return False
        self.hits += 1
        return True


class _Connection:
    """One connection through the proxy."""

    def __init__(self, peer: Peer, client: socket.socket, server: socket.socket) -> None:
        self._peer, self._client, self._server = peer, client, server
        self._fault: Fault | None = None
        self._left = 0  # bytes of the answer that pass

    def relay(self) -> None:
        back = threading.Thread(target=self._answers, daemon=True)
        back.start()
        with suppress(OSError):
            while data := self._client.recv(_PIECE):
                if self._fault is None and self._peer._is_due(data) and not self._begin(self._peer.fault):
                    continue
                self._server.sendall(data)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)
        back.join()

    def _begin(self, fault: Fault) -> bool:
        """Begin to misbehave; return whether the server gets what the client has sent."""
        if fault.action == "answer":
            self._client.sendall(fault.answer)
            return False
        if fault.action == "swallow":
            self._end(reset=True)
            return False
        if fault.action == "half-open":
            self._peer._gone.set()
        self._left = fault.after
        self._fault = fault
        return True

    def _answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_PIECE):
                if self._fault is None:
                    self._client.sendall(data)
                    continue
                passed, rest = data[: self._left], data[self._left :]
                self._left -= len(passed)
                self._client.sendall(passed)
                if rest and not self._misbehave(self._fault, rest):
                    return
            if self._fault is None or self._fault.action in ("truncate", "change", "reset"):
                self._client.shutdown(socket.SHUT_WR)

    def _misbehave(self, fault: Fault, rest: bytes) -> bool:
        """Do so; return whether the rest of the answer is passed on."""
        match fault.action:
            case "stall":
                self._peer._silent.set()
                self._peer._keep_silent(self._client)
            case "half-open":
                self._peer._keep_silent(self._client)
            case "reset" | "done-then-reset":
                self._end(reset=True)
            case "truncate":
                self._end(reset=False)
            case "drip":
                self._drip(rest)
            case "change":
                self._client.sendall(fault.change(self._whole(rest)))
                self._end(reset=False)
        return False

    def _whole(self, begun: bytes) -> bytes:
        """Return what the server sends until it is quiet."""
        self._server.settimeout(_QUIET_SECONDS)
        with suppress(TimeoutError):
            while data := self._server.recv(_PIECE):
                begun += data
        return begun

    def _drip(self, rest: bytes) -> None:
        for index in range(len(rest)):
            if self._peer._closed.wait(_DRIP_SECONDS):
                return
            self._client.sendall(rest[index : index + 1])

    def _end(self, *, reset: bool) -> None:
        if reset:
            _reset(self._client)
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)


def _reset(client: socket.socket) -> None:
    """Have the connection end by a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)  # the thread that reads from it would keep it open
    time.sleep(0.02)
    client.close()


@contextmanager
def unanswered_port() -> Iterator[int]:
    """Hold a port on which connections are neither taken nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_tls(folder: Path) -> ssl.SSLContext:
    """Return a server's side of TLS, with a certificate that nobody trusts."""
    from mariadb_server import certify

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certify(folder), folder / "key.pem")
    return context


def http_answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return an answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def with_longer_length(answer: bytes) -> bytes:
    """Have an answer promise more than it holds."""
    return re.sub(
        rb"(?i)content-length: (\d+)",
        lambda found: b"Content-Length: %d" % (int(found[1]) + 1000),
        answer,
        count=1,
    )


def with_broken_document(answer: bytes) -> bytes:
    """Spoil what is JSON or XML, without a change of its length."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return head + end + body.replace(b'":', b'"=').replace(b"</", b"<\\")
