"""Dagster as it comes: definitions in a file, `dagster code-server`, the default launcher, reloads."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from benchmarks.control_plane.figures import Figure, Report, single, timed

_DEFINITIONS = '''"""As many jobs as a file says, each with one op that notes its first record."""

import json
import os
import time
from pathlib import Path

import dagster

HERE = Path(__file__).parent


def job(number):
    @dagster.op(name=f"op_{number}", out=dagster.Out(dagster.Nothing))
    def op(context):
        with open(HERE / f"mark_{number}", "a") as marks:
            marks.write(f"{time.time()} {os.getpid()}\\n")

    @dagster.job(name=f"job_{number}", executor_def=dagster.in_process_executor)
    def defined():
        op()

    return defined


jobs = [job(number) for number in range(json.loads((HERE / "count.json").read_text()))]
schedules = [
    dagster.ScheduleDefinition(name=f"schedule_{job.name}", job=job, cron_schedule="0 0 29 2 *")
    for job in jobs
]
defs = dagster.Definitions(jobs=jobs, schedules=schedules)
'''
_INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
_STORAGE = """
import dagster

instance = dagster.DagsterInstance.get()
instance.get_runs_count()
instance.all_instigator_state()
instance.all_asset_keys()
"""
_RELOAD = """mutation { r: reloadRepositoryLocation(repositoryLocationName: "stock") { __typename
  ... on WorkspaceLocationEntry { locationOrLoadError { __typename } } } }"""
_LAUNCH = """mutation ($job: String!) { r: launchRun(executionParams: { selector: {
  repositoryLocationName: "stock", repositoryName: "__repository__", jobName: $job } }) { __typename
  ... on LaunchRunSuccess { run { runId } } } }"""
_ENDED = """query { r: runsOrError(filter: {statuses: [SUCCESS, FAILURE, CANCELED]}) {
  ... on Runs { count } } }"""
_READY_SECONDS = 300.0


class Stock:
    """A running Dagster with jobs that can be added."""

    def __init__(self, home: Path, ports: tuple[int, int]) -> None:
        self._home = home
        self.count = 0
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=600, trust_env=False)

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the one answer of a query."""
        answer = self._client.post("/graphql", json={"query": query, "variables": variables}).json()
        if not answer.get("data"):
            raise SystemExit(f"Dagster answered {json.dumps(answer)[:500]}")
        found: dict[str, Any] = answer["data"]["r"]
        return found

    def set_count(self, count: int) -> None:
        """Write down how many jobs there are; Dagster learns of it with the next reload."""
        self.count = count
        (self._home / "count.json").write_text(json.dumps(count))

    def launch(self, job: int) -> None:
        """Launch a run, by the mutation that the UI sends."""
        answer = self.ask(_LAUNCH, job=f"job_{job}")
        if answer["__typename"] != "LaunchRunSuccess":
            raise SystemExit(f"Dagster answered {answer}")

    def first_record(self, job: int, number: int) -> float:
        """Wait for the first record of the job's run of that number; return its time."""
        mark, deadline = self._home / f"mark_{job}", time.monotonic() + 120
        while time.monotonic() < deadline:
            lines = mark.read_text().splitlines() if mark.exists() else []
            if len(lines) > number:
                return float(lines[number].split()[0])
            time.sleep(0.01)
        raise SystemExit("A run of stock Dagster had no record in 120 s.")

    def wait_until_loaded(self) -> None:
        """Wait until a reload loads the jobs."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                loaded = self.ask(_RELOAD).get("locationOrLoadError") or {}
            except httpx.TransportError:
                loaded = {}
            if loaded.get("__typename") == "RepositoryLocation":
                return
            time.sleep(0.2)
        raise SystemExit(f"Stock Dagster was not ready in {_READY_SECONDS:.0f} s.")


def stock(asked: argparse.Namespace, report: Report) -> None:
    """Measure stock Dagster with as many jobs as Headrace had pipelines."""
    for jobs in asked.pipelines:
        with run_stock(jobs) as dagster:
            title = f"Stock Dagster, sqlite, {jobs:,} jobs"
            report.add(f"{title}: creates", _creates(dagster, min(asked.creates, 5)))
            report.add(f"{title}: triggers", _triggers(dagster, min(asked.runs, 20)))
            report.add(f"{title}: load", _load(dagster, min(asked.load, jobs)))


def _creates(dagster: Stock, count: int) -> list[Figure]:
    samples = []
    for _ in range(count):
        dagster.set_count(dagster.count + 1)
        began = time.monotonic()
        dagster.wait_until_loaded()
        samples.append(time.monotonic() - began)
    return [timed("create to launchable in Dagster", samples, note="a reload")]


def _triggers(dagster: Stock, count: int) -> list[Figure]:
    samples = []
    for number in range(count):
        asked = time.time()
        dagster.launch(0)
        samples.append(dagster.first_record(0, number) - asked)
        time.sleep(1)  # its process goes on for a moment
    return [timed("run request to first record", samples)]


def _load(dagster: Stock, count: int) -> list[Figure]:
    ended = dagster.ask(_ENDED)["count"]
    began = time.monotonic()
    for job in range(count):
        dagster.launch(job)
    while dagster.ask(_ENDED)["count"] < ended + count:
        time.sleep(0.2)
    seconds = time.monotonic() - began
    return [single("runs finished a minute at full load", 60 * count / seconds, "runs", f"of {count} runs")]


@contextmanager
def run_stock(jobs: int) -> Iterator[Stock]:
    """Start webserver, daemon and code server on a fresh home."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        home, ports = Path(folder), (_free_port(), _free_port())
        (home / "dagster.yaml").write_text(_INSTANCE)
        (home / "stock.py").write_text(_DEFINITIONS)
        server = f"{{host: 127.0.0.1, port: {ports[1]}, location_name: stock}}"
        (home / "workspace.yaml").write_text(f"load_from: [{{grpc_server: {server}}}]\n")
        dagster = Stock(home, ports)
        dagster.set_count(jobs)
        module = [sys.executable, "-m"]
        workspace = ["-w", str(home / "workspace.yaml")]
        code = ["code-server", "start", "-f", str(home / "stock.py"), "-h", "127.0.0.1", "-p", str(ports[1])]
        commands = [
            [*module, "dagster", *code],
            [*module, "dagster_webserver", *workspace, "-p", str(ports[0])],
            [*module, "dagster._daemon", "run", *workspace],
        ]
        environment = os.environ | {"DAGSTER_HOME": folder}
        # Three processes that make the same SQLite files at once break them.
        subprocess.run([sys.executable, "-c", _STORAGE], env=environment, check=True)
        with (home / "log").open("wb") as log:
            processes = [_start(command, environment, home, log) for command in commands]
            try:
                dagster.wait_until_loaded()
                yield dagster
            finally:
                _stop(processes)


def _start(
    command: list[str], environment: dict[str, str], home: Path, log: Any
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True
    )


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
