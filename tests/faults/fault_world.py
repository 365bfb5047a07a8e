"""A whole platform in which cells are played, and what is asked of it: patiently, since its processes die."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from live_platform import TERMINAL, LivePlatform, alive, eventually, make_keyring
from servers import Servers

from headrace.failpoints import PLATFORM, TAKEN, Point

ENDS_SECONDS = 180.0
"""Within this time every accepted run has ended, whatever was injected into it."""
READY_SECONDS = 15.0
"""Within this time the platform is ready again."""
AGREES_SECONDS = 180.0
"""Within this time Dagster agrees."""
LEASE_SECONDS = 9.0
_CALL_SECONDS = 10.0
_KILLS = 4
"""So often may the supervisor restart a process before its delays are those of a crash loop."""
_DAGSTER_RUNS = """
query ($cursor: String) {
  runs: runsOrError(cursor: $cursor, limit: 500) {
    ... on Runs { results { runId status tags { key value } } }
  }
}"""
_LAUNCHES = """
query ($tag: String!) {
  runs: runsOrError(filter: {tags: [{key: "headrace/run_id", value: $tag}]}) {
    ... on Runs { results { runId status } }
  }
}"""
Json = dict[str, Any]


@dataclass
class World:
    """A platform, its servers, and what was noticed."""

    platform: LivePlatform
    servers: Servers
    folder: Path
    noticed: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)  # how each run has ended
    bugs_expected: bool = False  # an injected error in a request is a 500
    kills: int = 0
    longest_away: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # Requests

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response | None:
        """Send one request; return None where no answer came. Note any 5xx that should not be."""
        try:
            answer = self.platform.api.request(
                method, f"/api{path}", json=body, headers=headers, timeout=_CALL_SECONDS
            )
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            self._see(answer, f"{method} {path}")
        return answer

    def _see(self, answer: httpx.Response, what: str) -> None:
        is_away = answer.status_code == 503 and "Retry-After" in answer.headers
        if not is_away and not (answer.status_code == 500 and self.bugs_expected):
            self.noticed.append(f"{what}: {answer.status_code} {answer.text[:200]}")

    def insist(
        self, method: str, path: str, body: Any = None, *, seconds: float = 90.0, **headers: str
    ) -> httpx.Response:
        """Send a request until an answer comes that is not `come again`."""

        def look() -> httpx.Response | None:
            answer = self.ask(method, path, body, **headers)
            return None if answer is None or answer.status_code >= 500 else answer

        return eventually(look, seconds=seconds, what=f"An answer to {method} {path}", pause=0.2)

    def run_view(self, run_id: str) -> Json:
        """Return what the service says of a run."""
        view: Json = self.insist("GET", f"/pipelines/runs/{run_id}").json()
        return view

    def runs_of(self, pipeline_id: str) -> list[Json]:
        """Return a pipeline's runs, newest first."""
        runs: list[Json] = self.insist("GET", f"/pipelines/{pipeline_id}/runs").json()
        return runs

    def trigger(self, pipeline_id: str) -> str:
        """Have a run stored, and return its id; the answer may have been lost."""
        before = {run["id"] for run in self.runs_of(pipeline_id)}
        deadline = time.monotonic() + ENDS_SECONDS
        while time.monotonic() < deadline:
            answer = self.ask("POST", f"/pipelines/{pipeline_id}/run")
            new = [run["id"] for run in self.runs_of(pipeline_id) if run["id"] not in before]
            if new:
                assert len(new) == 1, f"one request has made the runs {new}"
                return str(new[0])
            assert answer is None or answer.status_code in (409, 500, 503), answer.text
            time.sleep(0.5)
        raise AssertionError("no run was accepted")

    def end_of(self, run_id: str, *, seconds: float = ENDS_SECONDS) -> Json:
        """Wait until a run has ended, and return it."""

        def look() -> Json | None:
            run = self.run_view(run_id)
            return run if run["status"] in TERMINAL else None

        run = eventually(look, seconds=seconds, what=f"The end of run {run_id}", pause=0.3)
        self.ended[run_id] = run["status"]
        return run

    def status_of(self, run_id: str, *statuses: str, seconds: float = 60) -> Json:
        """Wait until a run has one of the statuses."""

        def look() -> Json | None:
            run = self.run_view(run_id)
            return run if run["status"] in statuses else None

        return eventually(look, seconds=seconds, what=f"Run {run_id} {statuses}", pause=0.2)

    # Faults

    def arm(self, point: Point, subject: str, fault: str) -> None:
        """Have the first process that reaches the point with the subject meet the fault."""
        self.platform.faults.mkdir(exist_ok=True)
        # Renamed into place: a process must not take a file that is still empty.
        new = self.platform.faults / f".new.{point}.{subject}"
        new.write_text(fault)
        (self.platform.faults / f"{TAKEN}{point}.{subject}").unlink(missing_ok=True)
        new.rename(self.platform.faults / f"{point}.{subject}")

    def require_taken(self, point: Point, subject: str = PLATFORM, *, seconds: float = 5.0) -> None:
        """Fail if no process has met the fault."""
        eventually(
            lambda: not (self.platform.faults / f"{point}.{subject}").exists(),
            seconds=seconds,
            what=f"Reaching {point}",
        )

    def disarm(self) -> None:
        """Remove what was not met."""
        for file in self.platform.faults.glob("*"):
            if not file.name.startswith(TAKEN):
                file.unlink(missing_ok=True)

    # The platform's life

    def wait_ready(self) -> None:
        """Wait until the platform is ready."""
        eventually(self.is_ready, seconds=180, what="Readiness", pause=0.1)

    def is_ready(self) -> bool:
        """Whether all parts say that they are ready."""
        try:
            return self.platform.api.get("/api/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def after_kill(self) -> None:
        """Wait for readiness. Every few kills start anew, as the supervisor takes many for a crash loop."""
        self.wait_ready()
        with self._lock:
            self.kills += 1
            if self.kills % _KILLS == 0:
                self.restart()

    def restart(self) -> None:
        """Stop the whole platform and start it again."""
        self.platform.process.terminate()
        self.platform.process.wait(60)
        self.platform.end()
        self.platform.start()
        self.platform.wait_ready()

    # What is left at the end

    def check_all(self) -> Iterator[str]:
        """Yield what is wrong with the platform once all of its cells are played."""
        yield from self.noticed
        for run_id, status in self.ended.items():
            found = self.ask("GET", f"/pipelines/runs/{run_id}")
            if found is not None and found.status_code == 200 and found.json()["status"] != status:
                yield f"run {run_id} was {status} and is {found.json()['status']}"
        yield from self._until_none("Dagster", self._disagreements, AGREES_SECONDS)
        yield from self._until_none("orphan", self._orphans, 60.0)
        yield from self._unfinished_outputs()

    def _until_none(self, what: str, look: Callable[[], list[str]], seconds: float) -> list[str]:
        deadline = time.monotonic() + seconds
        while (found := look()) and time.monotonic() < deadline:
            time.sleep(2)
        return [f"{what}: {one}" for one in found]

    def dagster_runs(self) -> list[Json]:
        """Return all of Dagster's runs with their tags, newest first."""
        found: list[Json] = []
        cursor = None
        while page := self.platform.graphql(_DAGSTER_RUNS, cursor=cursor)["runs"]["results"]:
            found += [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in page]
            cursor = page[-1]["runId"]
        return found

    def launches_of(self, run_id: str) -> list[Json]:
        """Return the Dagster runs that were launched for a run."""
        found: list[Json] = self.platform.graphql(_LAUNCHES, tag=run_id)["runs"]["results"]
        return found

    def _disagreements(self) -> list[str]:
        """Return the Dagster runs that go on, or end otherwise than the row whose last launch they are."""
        wrong, seen = [], set()
        # A worker that was lost is stopped in Dagster, in case it is alive.
        wanted = {"success": {"SUCCESS"}, "failed": {"FAILURE", "CANCELED"}, "cancelled": {"CANCELED"}}
        for run in self.dagster_runs():
            run_id, status = run["tags"].get("headrace/run_id", ""), run["status"]
            if status not in ("SUCCESS", "FAILURE", "CANCELED"):
                wrong.append(f"{run['runId']} of run {run_id} is {status}")
            elif run_id in self.ended and run_id not in seen:
                seen.add(run_id)
                view = self.ask("GET", f"/pipelines/runs/{run_id}")
                if view is not None and view.status_code == 200:
                    row = view.json()
                    if row["dagster_run_id"] == run["runId"] and status not in wanted[row["status"]]:
                        wrong.append(f"run {run_id} is {row['status']}, in Dagster {status}")
        return wrong

    def _orphans(self) -> list[str]:
        """Return the processes of the home that no part of the platform has started, and workers."""
        known = [psutil.Process(self.platform.process.pid)]
        known += known[0].children(recursive=True)
        strange = [process for process in self.platform.family() if process not in known]
        found = []
        for process in [*strange, *self.platform.workers()]:
            with suppress(psutil.Error):
                if alive(process):
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:80]}")
        return found

    def _unfinished_outputs(self) -> list[str]:
        outputs = self.platform.home / "outputs"
        return [
            f"a file is left: {path.relative_to(outputs)}"
            for path in outputs.glob("*/*")
            if path.name != "output.parquet"
        ]


class Probe(threading.Thread):
    """Asks again and again whether the platform is ready, and takes the longest time in which it was not."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self.longest = 0.0
        self._world = world
        self._done = threading.Event()

    def run(self) -> None:
        """Ask."""
        since = None
        while not self._done.wait(0.2):
            asked = time.monotonic()
            if self._world.is_ready():
                since = None
                continue
            since = since or asked
            self.longest = max(self.longest, time.monotonic() - since)

    def __enter__(self) -> "Probe":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


@contextmanager
def a_world(records: str, servers: Servers, folder: Path, **settings: str) -> Iterator[World]:
    """Start a platform with its records in SQLite or PostgreSQL."""
    home = folder / "home"
    url = None
    if records == "postgres":
        url = servers.postgres.fresh_database()
        make_keyring(home)
    environment = {
        "HEADRACE_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        "HEADRACE_MAX_CONCURRENT_RUNS": "16",
        **settings,
    }
    platform = LivePlatform(home=home, config=folder / "config", database_url=url, environment=environment)
    platform.start()
    try:
        platform.wait_ready()
        yield World(platform=platform, servers=servers, folder=folder)
    finally:
        platform.end()


def same(one: httpx.Response, other: httpx.Response) -> bool:
    """Whether two answers say the same."""
    return one.status_code == other.status_code and json.loads(one.text) == json.loads(other.text)
