"""A REST service that gives the answers it is told, and the command run against it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from headrace.cli import home_lock, main
from headrace.cli.connection import Addresses

TOKEN = "headrace_test-token"


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    query: str
    token: str | None
    body: Any


@dataclass
class Service:
    """Answers by method and path; a list of answers is given one after the other, the last one for ever."""

    url: str
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def answer(self, route: str, *bodies: Any, status: int = 200) -> None:
        self.answers[route] = [(status, body) for body in bodies]

    def next_answer(self, route: str) -> tuple[int, Any]:
        answers = self.answers.get(
            route, [(404, {"title": "Not found", "detail": "There is no such route."})]
        )
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            made.requests.append(
                Request(
                    method=self.command,
                    path=parts.path,
                    query=parts.query,
                    token=(self.headers.get("Authorization") or "").removeprefix("Bearer ") or None,
                    body=json.loads(content) if content else None,
                )
            )
            status, body = made.next_answer(f"{self.command} {parts.path}")
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Service(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home(service: Service, tmp_path: Path) -> Iterator[Path]:
    """A home folder whose platform is up: it is the service."""
    root = tmp_path / "home"
    with home_lock.hold(root):
        Addresses(url=service.url, dagster_url="http://127.0.0.1:1", pid=1).write(root)
        (root / "owner.token").write_text(TOKEN)
        (root / "owner.token").chmod(0o600)
        yield root


@dataclass(frozen=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Headrace = Callable[..., Outcome]


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Headrace:
    """Runs the command in this process."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADRACE_HOME", "HEADRACE_URL", "HEADRACE_TOKEN", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["headrace", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capsys.readouterr()
        return Outcome(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run
