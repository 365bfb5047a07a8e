"""The REST service as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from http_service import DUMMY_CONFIG
from waiting import eventually, free_port

from headrace.service.platform import Platform, owner_token
from headrace.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with which the service can start."""
    Platform.open(load_settings(tmp_path / "home"), migrate=True).close()
    return tmp_path / "home"


@pytest.fixture
def port() -> int:
    """A free port."""
    return free_port()


def start(home: Path, port: int) -> subprocess.Popen[str]:
    """Start the service. Nothing listens at its Dagster address."""
    environment = os.environ | {
        "HEADRACE_HOME": str(home),
        "HEADRACE_PORT": str(port),
        "HEADRACE_DAGSTER_URL": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "headrace_api"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def process(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """The service, once it answers."""
    started = start(home, port)
    eventually(lambda: answers(port) or started.poll() is not None, what="An answer")
    yield started
    started.kill()
    started.communicate()


def answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/api/health")
    except httpx.TransportError:
        return False
    return True


@pytest.fixture
def client(home: Path, port: int, process: subprocess.Popen[str]) -> Iterator[httpx.Client]:
    """The owner's client."""
    headers = {"Authorization": f"Bearer {owner_token(load_settings(home))}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        yield client


def test_without_dagster_the_service_accepts_requests(client):
    pipeline = client.post("/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG}).json()

    run = client.post(f"/api/pipelines/{pipeline['id']}/run")

    ready = client.get("/api/ready")
    assert (run.status_code, run.json()["status"]) == (201, "pending")
    assert (ready.status_code, ready.json()["database"]["ready"]) == (503, True)
    assert not ready.json()["dagster_webserver"]["ready"]


def test_it_stops_within_seconds_while_a_log_is_followed(client, process):
    pipeline = client.post("/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG}).json()
    run = client.post(f"/api/pipelines/{pipeline['id']}/run").json()
    path = f"/api/pipelines/runs/{run['id']}/logs"

    with client.stream("GET", path, headers={"Accept": "text/event-stream"}) as response:
        assert response.status_code == 200
        asked_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(15)

    assert time.monotonic() - asked_at < 10
    assert process.returncode == 0


def test_its_log_names_no_query_and_no_token(client, process, home):
    client.get("/api/pipelines?q=private-matter")
    process.send_signal(signal.SIGTERM)

    log = process.communicate(timeout=15)[1]

    assert "GET /api/pipelines 200" in log
    assert "private-matter" not in log
    assert owner_token(load_settings(home)) not in log


def test_it_uses_little_memory(client, process):
    for _ in range(100):
        client.get("/api/pipelines")

    assert psutil.Process(process.pid).memory_info().rss < 160 * 2**20


def test_it_does_not_start_with_a_database_that_is_not_migrated(tmp_path, port):
    process = start(tmp_path / "empty", port)

    log = process.communicate(timeout=30)[1]

    assert process.returncode == 78
    assert log.startswith("Database not migrated: ")
    assert "Traceback" not in log
