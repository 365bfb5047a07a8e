"""A platform of its own for the benchmark: `headrace up` on a fresh home, with as many pipelines as asked."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from benchmarks.control_plane.processor import tree_seconds
from pydantic import SecretStr
from sqlalchemy import insert, select, update

from headrace.cli.connection import Addresses
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.schema import catalogue, organizations, pipelines, runs

READY_SECONDS = 120.0
STOP_SECONDS = 20.0
_SETTLED_SECONDS = 300.0
_LOOK_SECONDS = 5.0
_REST_SHARE = 0.2  # of a core, of all processes together
_MANY = 100  # pipelines that take a while to be taken in

_FUNCTION = '''"""Records of the benchmark: each run first notes the time, and its process."""

import os
import time


def records(mark, rows=10, seconds=0.0):
    with open(mark, "a") as marks:
        marks.write(f"{time.time()} {os.getpid()}\\n")
    time.sleep(seconds)
    for number in range(rows):
        yield {"number": number}
'''


@dataclass(frozen=True, kw_only=True)
class BenchPipeline:
    """A pipeline of the benchmark."""

    id: UUID
    mark: Path  # its runs' first records: a line each, with the time and the process

    def first_record(self, number: int, *, seconds: float = 60.0) -> tuple[float, int]:
        """Wait until the run of that number, from 0, has its first record; return its time and process."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = self.mark.read_text().splitlines() if self.mark.exists() else []
            if len(lines) > number:
                at, process = lines[number].split()
                return float(at), int(process)
            time.sleep(0.01)
        raise SystemExit(f"Run {number} of {self.id} had no record in {seconds:.0f} s.")


@dataclass(kw_only=True)
class BenchPlatform:
    """A running platform, reached as its owner."""

    root: Path
    process: "subprocess.Popen[bytes]"
    database: Database
    api: httpx.Client
    dagster: httpx.Client

    @property
    def marks(self) -> Path:
        """The folder of one file for each pipeline, with the times of its runs' first records."""
        return self.root.parent / "marks"

    def create(self, name: str, *, seconds: float = 0.0, **more: object) -> "BenchPipeline":
        """Create a pipeline whose runs take `seconds` to yield ten records into the log."""
        mark = self.marks / secrets.token_hex(8)
        source = {
            "name": "python",
            "function": "bench:records",
            "stream": mark.name,
            "params": {"mark": str(mark), "seconds": seconds},
        }
        config = {"name": name, "source": source, "destination": {"name": "logger"}}
        answer = self.api.post("/api/pipelines", json={"name": name, "config": config, **more})
        answer.raise_for_status()
        return BenchPipeline(id=UUID(answer.json()["id"]), mark=mark)

    def run(self, pipeline: "BenchPipeline") -> UUID:
        """Trigger a run."""
        return UUID(self.api.post(f"/api/pipelines/{pipeline.id}/run").raise_for_status().json()["id"])

    def ended(self, run_id: UUID, *, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a run has ended; return what REST says of it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run: dict[str, Any] = self.api.get(f"/api/pipelines/runs/{run_id}").raise_for_status().json()
            if run["status"] not in ("pending", "running"):
                return run
            time.sleep(0.03)
        raise SystemExit(f"Run {run_id} has not ended in {seconds:.0f} s.")

    def fill(self, count: int) -> None:
        """Store pipelines that never run, each with a schedule of its own, until there are `count`."""
        with self.database.write() as connection:
            organization = connection.execute(select(organizations.c.id)).scalar_one()
            present = len(connection.execute(select(pipelines.c.id)).all())
            if count <= present:
                return
            first = connection.execute(select(catalogue.c.sequence)).scalar_one() + 1
            connection.execute(update(catalogue).values(sequence=first + count - present))
            rows = [_idle(organization, number, first + number) for number in range(count - present)]
            connection.execute(insert(pipelines), rows)

    def settle(self) -> None:
        """Wait until what was stored at once has been taken in.

        Each host reads it, and at the start of a minute Dagster's daemon stores a state for each schedule
        that is new to it, some 10 ms each: a platform has that once for each, and not for so many together.
        """
        time.sleep(max(0.0, 62 - time.time() % 60))
        deadline = time.monotonic() + _SETTLED_SECONDS
        while time.monotonic() < deadline:
            before = tree_seconds(self.process.pid)
            time.sleep(_LOOK_SECONDS)
            if tree_seconds(self.process.pid) - before < _REST_SHARE * _LOOK_SECONDS:
                return
        raise SystemExit(f"The platform did not settle in {_SETTLED_SECONDS:.0f} s.")

    def claimed_at(self, run_id: UUID | str) -> float:
        """Return when a run was claimed, from its row: over REST times are whole seconds."""
        query = select(runs.c.started_at).where(runs.c.id == UUID(str(run_id)))
        with self.database.read() as connection:
            claimed: datetime = connection.execute(query).scalar_one()
        return claimed.timestamp()

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the data of Dagster's answer."""
        answer = self.dagster.post("/graphql", json={"query": query, "variables": variables}).json()
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        data: dict[str, Any] = answer["data"]
        return data


def _idle(organization: UUID, number: int, sequence: int) -> dict[str, object]:
    return {
        "id": uuid4(),
        "organization_id": organization,
        "name": f"Idle {number}",
        "source": "postgres",
        "stream": "public.orders",
        "destination": "duckdb",
        "sync_mode": "full_refresh",
        # Once a year each: there to be looked at, never due.
        "schedule": f"{number % 60} {number // 60 % 24} 29 2 *",
        "timezone": "UTC",
        "enabled": True,
        "revision": 1,
        "sequence": sequence,
        "config": None,
        "config_revision": 1,
        "created_at": datetime.now(UTC),
    }


@contextmanager
def run_platform(
    database_url: str | None = None, *, pipelines: int = 0, **settings: object
) -> Iterator[BenchPlatform]:
    """Start a platform on a fresh home, in SQLite or in the empty database that `database_url` names."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        root = Path(folder) / "home"
        (root / "connectors").mkdir(parents=True, mode=0o700)
        root.chmod(0o700)
        (root / "connectors" / "bench.py").write_text(_FUNCTION)
        (root.parent / "marks").mkdir()
        process = _start(root, database_url, settings)
        try:
            platform = _connected(root, process, database_url)
            platform.fill(pipelines)
            if pipelines >= _MANY:
                platform.settle()
            yield platform
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def _start(root: Path, database_url: str | None, settings: dict[str, object]) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environment |= {"HEADRACE_CONFIG_DIR": str(root.parent / "config")}
    # The runs that a benchmark stores, of days gone by, are to stay.
    settings = {"retention_days": 0, "retention_max_runs": 0, **settings}
    environment |= {f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()}
    headrace = [sys.executable, "-m", "headrace.cli.main"]
    if database_url:
        # Without a database of its own a platform makes its keys; with one, that is the operator's to do.
        keys = [*headrace, "keys", "init", "--home", str(root)]
        subprocess.run(keys, env=environment, check=True, stdout=subprocess.DEVNULL)
    command = [*headrace, "up", "--home", str(root)]
    command += ["--port", "0", "--dagster-port", "0", *(["--database-url", "-"] if database_url else [])]
    with (root.parent / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
    assert process.stdin is not None
    process.stdin.write(f"{database_url}\n".encode() if database_url else b"")
    process.stdin.close()
    return process


def _connected(root: Path, process: "subprocess.Popen[bytes]", database_url: str | None) -> BenchPlatform:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        addresses = Addresses.read(root)
        if addresses and (root / "owner.token").exists() and _answers(addresses.url):
            url = SecretStr(database_url) if database_url else None
            settings = Settings(home=root, database_url=url)
            headers = {"Authorization": f"Bearer {settings.owner_token_file.read_text().strip()}"}
            return BenchPlatform(
                root=root,
                process=process,
                database=Database(settings.sqlalchemy_url),
                api=httpx.Client(base_url=addresses.url, headers=headers, timeout=60),
                dagster=httpx.Client(base_url=addresses.dagster_url, headers=headers, timeout=60),
            )
        time.sleep(0.2)
    raise SystemExit(f"The platform did not start: {(root.parent / 'up.log').read_text()}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
