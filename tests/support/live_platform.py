"""The real platform for the acceptance tests: `headrace up` with its processes, on a home of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr
from waiting import eventually

from headrace.cli.connection import Addresses
from headrace.failpoints import Action, Point
from headrace.settings import Settings

READY_SECONDS = 120.0  # on a machine that is busy with other tests
STOP_SECONDS = 10.0  # what `headrace up` promises
PARTS = {
    "api": "headrace_api",
    "daemon": "headrace_dagster.daemon",
    "webserver": "headrace_dagster.webserver",
    "code": "headrace_dagster.code_server",
}
TERMINAL = ("success", "failed", "cancelled")

Json = dict[str, Any]


def on(*kinds: str, long: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run tests on platforms whose records are in these databases, and in `make test-long` also in others."""
    params = [*kinds, *(pytest.param(kind, marks=pytest.mark.long) for kind in long)]
    return pytest.mark.parametrize("platform", params, indirect=True)


@dataclass(kw_only=True)
class LivePlatform:
    """A running `headrace up` with a client for each of its two addresses.

    `api` and `dagster` bear the owner's token. `database_url` None: the records are in SQLite.
    """

    home: Path
    config: Path
    database_url: str | None = None
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start the processes, with the database's address through standard input."""
        address = ["--database-url", "-"] if self.database_url else []
        with self.printed_to.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headrace.cli.main", "up", "--home", str(self.home),
                 "--port", "0", "--dagster-port", "0", *address, *self.options],
                env=os.environ
                | {"HEADRACE_CONFIG_DIR": str(self.config)}
                | {"HEADRACE_FAILPOINTS": str(self.faults), "HEADRACE_ALLOW_FAILPOINTS": "true"}
                | self.environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.database_url}\n".encode() if self.database_url else b"")
        self.process.stdin.close()

    def wait_ready(self) -> None:
        """Wait until all parts say that they are ready."""
        eventually(self.is_ready, seconds=READY_SECONDS, what="Readiness", pause=0.25)

    def is_ready(self) -> bool:
        """Whether all parts say that they are ready."""
        assert self.process.poll() is None, self.printed
        if Addresses.read(self.home) is None or not (self.home / "owner.token").exists():
            return False
        try:
            return self.api.get("/api/ready").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Have it stop as promised; returns its exit code."""
        self.process.send_signal(how)
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        """Kill whatever is left of it."""
        self.process.kill()
        self.process.wait()
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for client in ("api", "dagster"):
            if client in self.__dict__:
                self.__dict__.pop(client).close()

    @property
    def faults(self) -> Path:
        """The folder of the faults that its processes are to meet."""
        return self.home.with_name("faults")

    def fault(self, point: Point, pipeline_id: str, action: Action = "kill") -> None:
        """Have whichever process gets there next with the pipeline meet a fault, once."""
        self.faults.mkdir(exist_ok=True)
        (self.faults / f"{point}.{pipeline_id}").write_text(action)

    @property
    def printed_to(self) -> Path:
        """The file of what `headrace up` itself prints."""
        return self.home.with_name("up.log")

    @property
    def printed(self) -> str:
        """What `headrace up` has printed."""
        return self.printed_to.read_text()

    def logs(self, *, lines: int = 25) -> str:
        """The ends of all logs, for the report of a failed test."""
        files = [self.printed_to, *sorted((self.home / "logs").glob("*.log"))]
        ends = ("\n".join(file.read_text(errors="replace").splitlines()[-lines:]) for file in files)
        return "\n".join(f"--- {file.name}\n{end}" for file, end in zip(files, ends, strict=True))

    @property
    def settings(self) -> Settings:
        """What the home's processes go by, as far as stored things are concerned."""
        url = SecretStr(self.database_url) if self.database_url else None
        return Settings(home=self.home, config_dir=self.config, database_url=url)

    @property
    def token(self) -> str:
        """The owner token of the home."""
        return (self.home / "owner.token").read_text().strip()

    @property
    def addresses(self) -> Addresses:
        """Where it answers."""
        found = Addresses.read(self.home)
        assert found is not None, self.printed
        return found

    @cached_property
    def api(self) -> httpx.Client:
        """A client of the REST service."""
        return self._client(self.addresses.url)

    @cached_property
    def dagster(self) -> httpx.Client:
        """A client of Dagster's webserver."""
        return self._client(self.addresses.dagster_url)

    def _client(self, address: str) -> httpx.Client:
        # A process that a test kills takes its connections with it: the next request makes a new one.
        transport = httpx.HTTPTransport(retries=1, limits=httpx.Limits(max_keepalive_connections=0))
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=address, headers=headers, timeout=30, transport=transport)

    # What tests ask of it

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Return the JSON of an answer of the REST service, which must have the status."""
        answer = self.api.request(method, f"/api{path}", json=body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def graphql(self, query: str, **variables: Any) -> Json:
        """Return the data of Dagster's answer."""
        answer = self.dagster.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data

    def create(self, name: str, source: Json, destination: Json | None = None, **more: Any) -> str:
        """Create a pipeline and return its id; without a destination it loads into the log."""
        config = {"name": name, "source": source, "destination": destination or {"name": "logger"}}
        body = {"name": name, "config": config, **more}
        return str(self.call("POST", "/pipelines", body, status=201)["id"])

    def run(self, pipeline_id: str) -> str:
        """Trigger a run and return its id."""
        return str(self.call("POST", f"/pipelines/{pipeline_id}/run", status=201)["id"])

    def run_view(self, run_id: str) -> Json:
        """Return what the service says of a run."""
        view: Json = self.call("GET", f"/pipelines/runs/{run_id}")
        return view

    def runs_of(self, pipeline_id: str) -> list[Json]:
        """Return a pipeline's runs, newest first."""
        runs: list[Json] = self.call("GET", f"/pipelines/{pipeline_id}/runs")
        return runs

    def run_that(self, run_id: str, *statuses: str, seconds: float = 30) -> Json:
        """Wait until a run has one of the statuses, and return it."""

        def look() -> Json | None:
            run = self.run_view(run_id)
            return run if run["status"] in statuses else None

        return eventually(look, seconds=seconds, what=f"Run {run_id} {' or '.join(statuses)}")

    def ended_run(self, run_id: str, *, seconds: float = 30) -> Json:
        """Wait until a run has ended, and return it."""
        return self.run_that(run_id, *TERMINAL, seconds=seconds)

    # Its processes

    def part(self, name: str) -> psutil.Process:
        """Return one of the four processes that the supervisor keeps."""

        def look() -> psutil.Process | None:
            children = psutil.Process(self.process.pid).children()
            return next((child for child in children if _module_of(child) == PARTS[name]), None)

        return eventually(look, seconds=READY_SECONDS, what=f"The start of {name}")

    def workers(self) -> list[psutil.Process]:
        """Return the processes that execute runs now."""
        return [
            worker
            for helper in self.part("code").children()
            if any("forkserver" in argument for argument in helper.cmdline())
            for worker in helper.children()
            if worker.status() != psutil.STATUS_ZOMBIE
        ]

    def worker_of(self, run_id: str) -> psutil.Process:
        """Return the process that executes a run, once the run goes on; it must be the only long one."""

        def look() -> psutil.Process | None:
            workers = self.workers()
            return workers[0] if len(workers) == 1 else None

        self.run_that(run_id, "running")
        return eventually(look, seconds=15, what="A single worker")

    def family(self) -> list[psutil.Process]:
        """Return every process of this home but the supervisor, whoever its parent is by now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("HEADRACE_HOME") == str(self.home)
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class Watch(threading.Thread):
    """Notes each status that a pipeline's scheduled runs are seen with over REST, in order."""

    def __init__(self, platform: LivePlatform, pipeline_id: str) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, list[str]] = {}
        self._platform, self._pipeline_id = platform, pipeline_id
        self._left = threading.Event()

    def complete(self) -> str | None:
        """Return the id of a run that was seen from its beginning to its end, once there is one."""
        whole = ["pending", "running", "success"]
        return next((run_id for run_id, seen in list(self.seen.items()) if seen == whole), None)

    def run(self) -> None:
        """Look often around the minute, when schedules fire, and seldom in between."""
        while not self._left.wait(0.1 if time.time() % 60 < 15 else 0.5):
            for run in self._runs():
                statuses = self.seen.setdefault(run["id"], [])
                if run["status"] not in statuses[-1:]:
                    statuses.append(run["status"])

    def _runs(self) -> list[Json]:
        # The service may be away: its deaths are among what is tested meanwhile.
        try:
            answer = self._platform.api.get(f"/api/pipelines/{self._pipeline_id}/runs")
        except httpx.TransportError:
            return []
        return list(answer.json()) if answer.status_code == 200 else []

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self.join()


def alive(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def make_keyring(home: Path) -> None:
    """Make the keyring that a platform with its records in PostgreSQL does not make by itself."""
    environment = os.environ | {"HEADRACE_CONFIG_DIR": str(home.with_name("config"))}
    command = [sys.executable, "-m", "headrace.cli.main", "keys", "init", "--home", str(home)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running(
    home: Path, config: Path | None = None, *, database_url: str | None = None, ready: bool = True
) -> Iterator[LivePlatform]:
    """Start a platform, and kill at the end what is left of it."""
    platform = LivePlatform(home=home, config=config or home.with_name("config"), database_url=database_url)
    with ExitStack() as stack:
        platform.start()
        stack.callback(platform.end)
        if ready:
            try:
                platform.wait_ready()
            except AssertionError as error:
                raise AssertionError(f"{error}\n{platform.logs()}") from None
        yield platform


def _module_of(process: psutil.Process) -> str | None:
    try:
        return process.cmdline()[-1]
    except (psutil.Error, IndexError):
        return None
