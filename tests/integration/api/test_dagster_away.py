"""The client against webservers that misbehave."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from dagster_server import free_port

from headrace.errors import Invalid
from headrace_api.dagster import client as client_module
from headrace_api.dagster.client import DagsterClient
from headrace_api.dagster.graphql import DagsterFailed, DagsterUnavailable

Serve = Callable[[int, str], DagsterClient]


@pytest.fixture
def seen() -> list[dict[str, str]]:
    """The headers of the requests that the server got."""
    return []


@pytest.fixture
def delay() -> list[float]:
    """The last item is the server's response time in seconds."""
    return [0.0]


@pytest.fixture
def serve(seen: list[dict[str, str]], delay: list[float]) -> Iterator[Serve]:
    """Start a server that answers every request the same; return a client of it."""
    opened: list[tuple[ThreadingHTTPServer, DagsterClient]] = []

    def start(status: int, body: str) -> DagsterClient:
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(dict(self.headers))
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay[-1])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        client = DagsterClient(f"http://127.0.0.1:{server.server_port}", token=lambda: f"token-{len(seen)}")
        opened.append((server, client))
        return client

    yield start
    for server, client in opened:
        client.close()
        server.shutdown()
        server.server_close()


def answer(**fields: object) -> str:
    return json.dumps({"data": {"answer": fields}})


def test_no_server_is_unavailable_and_health_says_so() -> None:
    client = DagsterClient(f"http://127.0.0.1:{free_port()}")

    status = client.health()
    with pytest.raises(DagsterUnavailable) as raised:
        client.reload()
    client.close()

    assert raised.value.code == "dagster.unavailable"
    assert (status.webserver, status.daemon, status.code_location) == (False, False, False)
    assert status.details == {"webserver": "Dagster cannot be reached."}


def test_a_server_that_takes_too_long_is_unavailable(
    serve: Serve, delay: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LAUNCH_SECONDS", 0.1)
    delay.append(0.5)
    client = serve(200, answer(__typename="LaunchRunSuccess", run={"runId": "x"}))

    with pytest.raises(DagsterUnavailable, match="in time"):
        client.launch(uuid4(), uuid4())


def test_a_python_error_that_comes_with_http_500_is_read(serve: Serve) -> None:
    client = serve(
        500, answer(__typename="PythonError", className="OperationalError", message="password=hunter2\n")
    )

    with pytest.raises(DagsterFailed) as raised:
        client.reload()

    assert raised.value.detail == "Dagster answered with an error (OperationalError)."
    assert raised.value.__notes__ == ["password=hunter2"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (502, "<html>Bad gateway</html>", DagsterUnavailable),
        (200, "no json", DagsterUnavailable),
        (200, '{"neither": "nor"}', DagsterUnavailable),
        (401, "Sign in", DagsterUnavailable),
        (400, '{"data": null, "errors": [{"message": "Cannot query field"}]}', DagsterFailed),
        (200, answer(__typename="UnauthorizedError", message="No."), DagsterFailed),
        (200, answer(__typename="InventedLater"), DagsterFailed),
    ],
)
def test_every_bad_answer_becomes_one_of_our_errors(
    status: int, body: str, error: type[Exception], serve: Serve
) -> None:
    client = serve(status, body)

    with pytest.raises(error) as raised:
        client.delete_run("x")

    assert raised.value.__cause__ is None


def test_each_request_carries_the_current_token(serve: Serve, seen: list[dict[str, str]]) -> None:
    client = serve(200, answer(__typename="DeletePipelineRunSuccess"))

    client.delete_run("x")
    client.delete_run("x")

    assert [headers["Authorization"] for headers in seen] == ["Bearer token-0", "Bearer token-1"]


def test_an_error_while_reading_the_token_is_raised_as_it_is() -> None:
    def broken() -> str:
        raise Invalid("The token's file is open to others.")

    client = DagsterClient("http://127.0.0.1:9", token=broken)

    with pytest.raises(Invalid, match="open to others"):
        client.reload()
    client.close()


@pytest.mark.parametrize("status", ["MANAGED", "SUSPENDED", "INVENTED_LATER"])
def test_statuses_that_dagster_may_invent_count_as_running(status: str, serve: Serve) -> None:
    result = {"runId": "x", "status": status, "updateTime": None, "startTime": None}
    client = serve(200, answer(__typename="Runs", results=[result]))

    [run] = client.runs(["x"])

    assert run.status == "running"
