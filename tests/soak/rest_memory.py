"""Drive quick runs at one REST service, and print its memory: `make soak-rest SOAK="--runs 6000"`.

The service and its control loops are real, in a process of their own. Dagster's webserver and the workers
are stubs here: a real run takes seconds of processor, and the question is whether the service keeps anything
of a run.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil

from headrace.naming import RUN_ID_TAG
from headrace.records import RunStatus
from headrace.service.lease import until_written
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform, owner_token
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.lifecycle.leases import Ending, LeaseStore

EVERY = 100  # runs between two lines
BOUND = 0.03  # of the memory after a third of the runs
_OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")
_CONFIG = {
    "name": "creatures",
    "source": {"name": "dummy", "stream": "creatures"},
    "destination": {"name": "logger"},
}


def main() -> int:
    """Drive the runs; return 1 if the memory grows."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=1500)
    options.add_argument("--pipelines", type=int, default=10)
    asked = options.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder,
        _service(Path(folder), asked.pipelines) as served,
    ):
        sizes = _drive(served, asked.runs)
    settled = sizes[len(sizes) // 3]
    growth = (sizes[-1] - settled) / settled
    print(f"growth since a third of the runs: {growth:+.1%}; allowed: {BOUND:.0%}")
    return int(growth > BOUND)


class Served:
    """The REST service, and a client of it."""

    def __init__(self, process: psutil.Process, client: httpx.Client, pipelines: list[UUID]) -> None:
        self.process, self.client, self.pipelines = process, client, pipelines

    def one_run(self, pipeline: UUID) -> None:
        """Trigger a run, follow it to its end, and look at it as people do."""
        run = self._get("POST", f"/api/pipelines/{pipeline}/run")["id"]
        while self._get("GET", f"/api/pipelines/runs/{run}")["status"] != "success":
            time.sleep(0.02)
        self._get("GET", f"/api/pipelines/runs/{run}/logs")
        self._get("GET", f"/api/pipelines/{pipeline}/runs?limit=20")

    def _get(self, method: str, path: str) -> Any:
        answer = self.client.request(method, path)
        while answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:  # as clients do on a busy machine
            time.sleep(1)
            answer = self.client.request(method, path)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()


def _drive(served: Served, runs: int) -> list[int]:
    sizes, began = [], time.monotonic()
    each = EVERY // len(served.pipelines)
    with ThreadPoolExecutor(len(served.pipelines)) as threads:
        for done in range(0, runs, EVERY):
            list(threads.map(lambda pipeline: _several(served, pipeline, each), served.pipelines))
            sizes.append(served.process.memory_info().rss)
            seconds = time.monotonic() - began
            _print_line(done + EVERY, seconds, served.process)
    return sizes


def _several(served: Served, pipeline: UUID, runs: int) -> None:
    for _ in range(runs):
        served.one_run(pipeline)


def _print_line(runs: int, seconds: float, process: psutil.Process) -> None:
    memory = process.memory_info().rss / 2**20
    print(
        f"{runs:6} runs {seconds:6.0f} s  RSS {memory:6.1f} MB  {process.num_fds():3} descriptors "
        f"{process.num_threads():3} threads",
        flush=True,
    )


@contextmanager
def _service(folder: Path, number: int) -> Iterator[Served]:
    settings = Settings(home=folder / "home", config_dir=folder / "config")
    platform = Platform.open(settings, migrate=True)
    drafts = [PipelineDraft(name=f"Creatures {index}", config=_CONFIG) for index in range(number)]
    pipelines = [Pipelines(platform, platform.owner()).create(draft).id for draft in drafts]
    stub = _Dagster(platform.database)
    threading.Thread(target=stub.serve_forever, daemon=True).start()
    port = _free_port()
    environment = os.environ | {
        "HEADRACE_HOME": str(settings.root),
        "HEADRACE_CONFIG_DIR": str(settings.config_dir),
        "HEADRACE_PORT": str(port),
        "HEADRACE_DAGSTER_URL": f"http://127.0.0.1:{stub.server_address[1]}",
        "HEADRACE_RETENTION_MAX_RUNS": "20",
        "HEADRACE_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "headrace_api"], env=environment)
    headers = {"Authorization": f"Bearer {owner_token(settings)}"}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
            _wait_for(client)
            yield Served(psutil.Process(process.pid), client, pipelines)
    finally:
        process.terminate()
        process.wait(20)
        stub.shutdown()
        platform.close()


def _wait_for(client: httpx.Client) -> None:
    deadline = time.monotonic() + 120  # on a busy machine
    while True:
        try:
            client.get("/api/health")
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Dagster(ThreadingHTTPServer):
    """Answers the service's queries, and ends each launched run at once as a worker would."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, database: Database) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.leases = LeaseStore(database, timedelta(seconds=15))
        self.workers = ThreadPoolExecutor(4)
        self.known: dict[str, dict[str, Any]] = {}

    def launch(self, tags: list[dict[str, str]], job: str) -> str:
        """Know a new run, and have it executed."""
        dagster_run_id = str(uuid4())
        now = time.time()
        run = {"runId": dagster_run_id, "status": "STARTED", "updateTime": now, "startTime": now}
        self.known[dagster_run_id] = run | {"jobName": job, "tags": tags}
        run_id = next(UUID(tag["value"]) for tag in tags if tag["key"] == RUN_ID_TAG)
        self.workers.submit(self._execute, run_id, dagster_run_id)
        return dagster_run_id

    def _execute(self, run_id: UUID, dagster_run_id: str) -> None:
        ending = Ending(status=RunStatus.SUCCESS, rows=5, bytes=500)
        claim = until_written(lambda: self.leases.claim(run_id, dagster_run_id), seconds=60)
        until_written(lambda: self.leases.end(claim.run, ending), seconds=60)
        self.known[dagster_run_id]["status"] = "SUCCESS"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Dagster

    def do_GET(self) -> None:
        self._send(204, b"")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = _OPERATION.search(asked["query"])
        assert found is not None
        answer = getattr(self, f"_{found[1]}")(asked.get("variables") or {})
        self._send(200, json.dumps({"data": answer}).encode())

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _LaunchRun(self, asked: Any) -> Any:  # noqa: N802 - the query's name, as all that follow
        run_id = self.server.launch(asked["tags"], asked["selector"]["jobName"])
        return {"answer": {"__typename": "LaunchRunSuccess", "run": {"runId": run_id}}}

    def _Runs(self, asked: Any) -> Any:  # noqa: N802
        wanted, known = asked["filter"], list(self.server.known.values())
        ids, tags = wanted.get("runIds"), wanted.get("tags") or []
        found = [
            run
            for run in known
            if (ids is None or run["runId"] in ids) and all(tag in run["tags"] for tag in tags)
        ]
        return {"answer": {"__typename": "Runs", "results": found[: asked["limit"]]}}

    def _CreatedRuns(self, asked: Any) -> Any:  # noqa: N802
        return {"answer": {"__typename": "Runs", "results": []}}

    def _DeleteRun(self, asked: Any) -> Any:  # noqa: N802
        self.server.known.pop(asked["runId"], None)
        return {"answer": {"__typename": "DeletePipelineRunSuccess"}}

    def _TerminateRun(self, asked: Any) -> Any:  # noqa: N802
        return {"answer": {"__typename": "TerminateRunSuccess"}}

    def _ReloadLocation(self, asked: Any) -> Any:  # noqa: N802
        loaded = {"__typename": "RepositoryLocation"}
        return {"answer": {"__typename": "WorkspaceLocationEntry", "locationOrLoadError": loaded}}

    def _RunLog(self, asked: Any) -> Any:  # noqa: N802
        line = {"__typename": "LogMessageEvent", "message": "Read 5 rows", "timestamp": "0", "level": "INFO"}
        connection = {"__typename": "EventConnection", "cursor": "5", "hasMore": False, "events": [line] * 5}
        return {"run": {"__typename": "Run", "status": "SUCCESS"}, "answer": connection}


if __name__ == "__main__":
    sys.exit(main())
