"""Prefect: its server on SQLite, and one process that serves a flow and starts a process for each run."""

import argparse
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from benchmarks.control_plane.environments import python_of
from benchmarks.control_plane.figures import Figure, Report, single, timed

_PACKAGE = "prefect==3.9.1"
_FLOW = '''"""A flow that notes its first record."""

import time
from pathlib import Path

from prefect import flow

MARK = Path(__file__).with_name("mark")


@flow(log_prints=False)
def records():
    with MARK.open("a") as marks:
        marks.write(f"{time.time()}\\n")


if __name__ == "__main__":
    records.serve(name="served", limit=8)
'''
_READY_SECONDS = 120.0
_RUN_SECONDS = 300.0


def prefect(asked: argparse.Namespace, report: Report) -> None:
    """Measure Prefect's triggers and load; its number of deployments plays no part in either."""
    with _run_prefect() as (api, mark):
        deployment = _deployment(api)
        report.add("Prefect, sqlite: triggers", _triggers(api, deployment, mark, min(asked.runs, 10)))
        report.add("Prefect, sqlite: load", _load(api, deployment, min(asked.load, 20)))


def _deployment(api: httpx.Client) -> str:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = api.get("/deployments/name/records/served")
        except httpx.TransportError:
            time.sleep(0.5)
            continue
        if answer.status_code == 200:
            return str(answer.json()["id"])
        time.sleep(0.5)
    raise SystemExit("Prefect was not ready in time.")


def _run(api: httpx.Client, deployment: str) -> str:
    while True:
        answer = api.post(f"/deployments/{deployment}/create_flow_run", json={"state": {"type": "SCHEDULED"}})
        if answer.status_code != 503:
            return str(answer.raise_for_status().json()["id"])
        time.sleep(0.5)  # its database is busy


def _triggers(api: httpx.Client, deployment: str, mark: Path, count: int) -> list[Figure]:
    samples = []
    for number in range(count):
        asked = time.time()
        run = _run(api, deployment)
        _wait(lambda number=number: mark.exists() and len(mark.read_text().splitlines()) > number)
        samples.append(float(mark.read_text().splitlines()[number]) - asked)
        _wait(lambda run=run: _state(api, run) == "COMPLETED")
    return [timed("run request to first record", samples)]


def _load(api: httpx.Client, deployment: str, count: int) -> list[Figure]:
    began = time.monotonic()
    made = [_run(api, deployment) for _ in range(count)]
    _wait(lambda: all(_state(api, run) == "COMPLETED" for run in made))
    seconds = time.monotonic() - began
    return [single("runs finished a minute at full load", 60 * count / seconds, "runs", f"of {count} runs")]


def _state(api: httpx.Client, run: str) -> str:
    answer = api.get(f"/flow_runs/{run}")
    return "BUSY" if answer.status_code == 503 else str(answer.raise_for_status().json()["state_type"])


def _wait(holds: Any) -> None:
    deadline = time.monotonic() + _RUN_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"Prefect's runs took more than {_RUN_SECONDS:.0f} s.")
        time.sleep(0.05)


@contextmanager
def _run_prefect() -> Iterator[tuple[httpx.Client, Path]]:
    python = python_of("prefect", _PACKAGE)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        port = _free_port()
        (Path(folder) / "flow.py").write_text(_FLOW)
        environment = os.environ | {
            "PREFECT_HOME": folder,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        server = [python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        with (
            (Path(folder) / "log").open("wb") as log,
            httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=60, trust_env=False) as api,
        ):
            processes = [_start(server, environment, folder, log)]
            try:
                _wait(lambda: _answers(api))
                processes.append(_start([python, "flow.py"], environment, folder, log))
                yield api, Path(folder) / "mark"
            finally:
                for process in reversed(processes):
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(20)


def _start(
    command: list[Any], environment: dict[str, str], folder: str, log: Any
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
    )


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
