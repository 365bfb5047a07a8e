"""A real HTTP server on loopback that answers as a test tells it to, and keeps what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to answer; anything but bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0  # seconds to wait before each tenth of the body
    breaks_off: bool = False  # closes the connection in the middle of the body

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Handler = Callable[[Asked], Answer]


@dataclass
class Server:
    """A running server."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.asked)


@contextmanager
def serving(handler: Handler) -> Iterator[Server]:
    """Serve until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _RequestHandler)
    http.daemon_threads = True
    server = Server(url=f"http://127.0.0.1:{http.server_address[1]}")
    http.handler, http.log = handler, server.asked  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in query.items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        self.server.log.append(asked)  # type: ignore[attr-defined]
        self._send(self.server.handler(asked))  # type: ignore[attr-defined]

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _send(self, answer: Answer) -> None:
        content = answer.content
        self.send_response(answer.status)
        kind = "application/octet-stream" if isinstance(answer.body, bytes) else "application/json"
        for name, value in ({"Content-Type": kind} | answer.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self._write(answer, content)
        except OSError:  # the client had enough
            self.close_connection = True

    def _write(self, answer: Answer, content: bytes) -> None:
        if answer.breaks_off:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif answer.drip:
            step = max(1, len(content) // 10)
            for start in range(0, len(content), step):
                time.sleep(answer.drip)
                self.wfile.write(content[start : start + step])
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
