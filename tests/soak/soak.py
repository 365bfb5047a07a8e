"""A long life in short: real runs for hours with 1 % faults, while everything that could grow is sampled.

`make soak` takes two hours, `make soak SOAK="--minutes 10"` fewer. It prints each series and fails if the
line of least squares through the second half of one rises by more than its bound.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil

sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

import live_platform
from live_platform import PARTS, TERMINAL, LivePlatform, make_keyring
from postgres_server import run_postgres

from headrace.patience import patiently

WORKERS = 2  # runs at once
RUN_SECONDS = 300.0  # how long a run may take before it counts as stuck
AWAY_SECONDS = 120.0  # how long a service that answers 503, or not at all, is asked again
EVERY_SECONDS = 5.0
SETTINGS = {
    "HEADRACE_RETENTION_MAX_RUNS": "5",  # so that what is kept is full after a few minutes
    "HEADRACE_RETENTION_KEEP_RUNS": "1",
    "HEADRACE_MAX_CONCURRENT_RUNS": str(WORKERS),
}
_MB = 2**20


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How much a series may rise from the middle to the end: a share of its mean, and something on top."""

    share: float
    more: float


BOUNDS: Mapping[str, Bound] = {
    "memory": Bound(share=0.03, more=2 * _MB),
    "descriptors": Bound(share=0.0, more=4),
    "threads": Bound(share=0.0, more=4),
    "database": Bound(share=0.05, more=_MB),
    "dagster": Bound(share=0.05, more=2 * _MB),
    "files": Bound(share=0.05, more=_MB),
    "temporary": Bound(share=0.0, more=3),
    "log": Bound(share=0.0, more=20 * _MB),  # at which the supervisor's rotation levels it off
}


def main() -> int:
    """Run it; return 1 if something grows or a run gets stuck."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=120)
    options.add_argument("--faults", type=float, default=0.01, help="share of the runs that meet a fault")
    options.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = options.parse_args()
    print(f"seed {asked.seed}, {asked.database}, {asked.minutes:g} minutes", flush=True)
    live_platform.READY_SECONDS = 600.0  # it may run at the lowest priority
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-soak-")))
        url = stack.enter_context(run_postgres()).fresh_database() if asked.database == "postgresql" else None
        platform = LivePlatform(
            home=folder / "home", config=folder / "config", database_url=url, environment=SETTINGS
        )
        if url:
            make_keyring(platform.home)
        platform.start()
        stack.callback(platform.end)
        platform.wait_ready()
        return _soak(platform, asked)


def _soak(platform: LivePlatform, asked: argparse.Namespace) -> int:
    load = Load(platform, random.Random(asked.seed), asked.faults)
    load.start()
    samples = Samples()
    end = time.monotonic() + asked.minutes * 60
    while time.monotonic() < end and not load.failures:
        samples.take(platform)
        time.sleep(EVERY_SECONDS)
    load.stop()
    print(f"{sum(load.ended.values())} runs: {dict(load.ended)}")
    print(f"faults: {dict(load.faults)}; requests repeated: {dict(load.away)}")
    grown = samples.report()
    for failure in load.failures:
        print(f"FAILED: {failure}")
    return int(bool(grown or load.failures))


class Away(Exception):
    """The service has answered with 503."""


class Load:
    """Clients that each run a pipeline again and again, some of them with a fault."""

    def __init__(self, platform: LivePlatform, chance: random.Random, share: float) -> None:
        self.ended: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.away: Counter[str] = Counter()
        self.failures: list[str] = []
        self._platform, self._chance, self._share = platform, chance, share
        self._stopping = threading.Event()
        self._pipelines = _pipelines(platform)
        self._broken = _broken_pipeline(platform)
        clients = WORKERS + 1  # so that one run always waits
        self._threads = [
            threading.Thread(target=self._work, args=(self._pipelines[number::clients],))
            for number in range(clients)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the runs that are under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(RUN_SECONDS + 30)

    def _work(self, pipelines: list[str]) -> None:
        turn = 0
        while not self._stopping.is_set():
            turn += 1
            try:
                self._one(pipelines[turn % len(pipelines)])
            except (httpx.HTTPError, AssertionError, Away) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                return

    def _one(self, pipeline: str) -> None:
        fault = self._chance.choice(("kill", "cancel", "destination")) if self._is_fault() else None
        pipeline = self._broken if fault == "destination" else pipeline
        run = self._ask("POST", f"/pipelines/{pipeline}/run")["id"]
        if fault is not None:
            self.faults[fault] += 1
        if fault in ("kill", "cancel"):
            self._disturb(run, fault)
        ended = self._once(run, *TERMINAL)
        self.ended[ended["status"]] += 1
        self._ask("GET", f"/pipelines/runs/{run}/logs")
        self._ask("GET", f"/pipelines/{pipeline}/runs")
        if ended["status"] != "success" and fault is None:
            code = ended.get("error_code")
            # A worker that another client's fault has killed.
            if code != "run.worker_lost":
                self.failures.append(f"Run {run} ended as {ended['status']}: {code} {ended.get('error')}")

    def _once(self, run: str, *statuses: str) -> Any:
        """Return a run once it is in one of the states."""
        deadline = time.monotonic() + RUN_SECONDS
        while (found := self._ask("GET", f"/pipelines/runs/{run}"))["status"] not in statuses:
            assert time.monotonic() < deadline, f"Run {run} is {found['status']} for {RUN_SECONDS:g} s."
            time.sleep(0.2)
        return found

    def _ask(self, method: str, path: str) -> Any:
        """Return an answer. A key makes it safe to ask again, as clients do while the service is away."""
        key = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        return patiently(
            lambda: self._answer(method, path, key),
            passing=(Away, httpx.TransportError),
            seconds=AWAY_SECONDS,
            told=lambda error: self.away.update([type(error).__name__]),
        )

    def _answer(self, method: str, path: str, headers: dict[str, str]) -> Any:
        answer = self._platform.api.request(method, f"/api{path}", headers=headers)
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Away(answer.text)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def _is_fault(self) -> bool:
        return self._chance.random() < self._share

    def _disturb(self, run: str, fault: str) -> None:
        self._once(run, "running", *TERMINAL)
        time.sleep(self._chance.random() * 0.3)
        if fault == "cancel":
            self._platform.api.post(f"/api/pipelines/runs/{run}/cancel")  # 409 if it has ended by now
            return
        for worker in self._platform.workers()[:1]:
            with suppress(psutil.Error):
                worker.kill()


def _pipelines(platform: LivePlatform) -> list[str]:
    data = platform.home.parent
    rows = {"name": "dummy", "stream": "creatures", "records": 20_000}
    growing = {"name": "dummy", "stream": "plants", "sync_mode": "incremental", "records": 500}
    parts = {"path": str(data / "parts"), "format": "csv", "partition_by": ["family"]}
    destinations: dict[str, Any] = {
        "duckdb": {"name": "duckdb", "config": {"path": str(data / "zoo.duckdb")}},
        "sqlite": {"name": "sqlite", "config": {"path": str(data / "zoo.sqlite")}},
        "parts": {"name": "file", "config": parts},
        "file": {"name": "file", "config": {"path": str(data / "whole")}},
        "log": {"name": "logger"},
    }
    made = [platform.create(f"All to {name}", rows, to) for name, to in destinations.items()]
    into = {"name": "sqlite", "config": {"path": str(data / "new.sqlite")}}
    return [*made, platform.create("New ones", growing, into)]


def _broken_pipeline(platform: LivePlatform) -> str:
    """A pipeline whose destination fails at each load: its folder is a file."""
    place = platform.home.parent / "no-folder"
    place.write_text("not a folder")
    rows = {"name": "dummy", "stream": "plants"}
    into = {"name": "file", "config": {"path": str(place / "below")}}
    return platform.create("To nowhere", rows, into)


@dataclass
class Samples:
    """Series of figures by their names, such as `memory of api`."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self, platform: LivePlatform) -> None:
        """Take one sample of everything."""
        now = time.monotonic()
        for name, value in _figures(platform).items():
            self.series.setdefault(name, []).append((now, value))

    def report(self) -> list[str]:
        """Print each series; return the names of those that grow."""
        grown = []
        print(f"{'':32} {'first':>12} {'middle':>12} {'last':>12} {'slope':>12} {'bound':>12}")
        for name, points in self.series.items():
            half = points[len(points) // 2 :]
            rise, bound = _rise(half), _bound(name, half)
            grows = rise > bound
            grown += [name] * grows
            figures = (points[0][1], half[0][1], points[-1][1], rise, bound)
            print(
                f"{name:32} {' '.join(f'{figure:12,.0f}' for figure in figures)}{'  GROWS' if grows else ''}"
            )
        return grown


def _rise(points: list[tuple[float, float]]) -> float:
    """Return how much the line of least squares rises from the first point to the last."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return slope * (points[-1][0] - points[0][0])


def _bound(name: str, points: list[tuple[float, float]]) -> float:
    bound = BOUNDS[name.split()[0]]
    return bound.share * sum(y for _, y in points) / len(points) + bound.more


def _figures(platform: LivePlatform) -> dict[str, float]:
    home = platform.home
    figures: dict[str, float] = {}
    for part, process in _processes(platform).items():
        with suppress(psutil.Error):
            figures[f"memory of {part}"] = process.memory_info().rss
            figures[f"descriptors of {part}"] = process.num_fds()
            figures[f"threads of {part}"] = process.num_threads()
    if platform.database_url is None:
        figures["database"] = _size(home.glob("headrace.db*"))
    else:
        figures["database"] = _size_on_server(platform.database_url)
    figures["dagster files"] = _size(_below(home / "dagster"))
    figures["files of outputs"] = _size(_below(home / "outputs"))
    figures["temporary folders"] = sum(1 for _ in (home / "outputs" / ".scratch").glob("*"))
    for log in (home / "logs").glob("*.log"):
        figures[f"log of {log.stem}"] = _size(log.parent.glob(f"{log.name}*"))
    return figures


def _processes(platform: LivePlatform) -> dict[str, psutil.Process]:
    parts: dict[str, psutil.Process] = {"supervisor": psutil.Process(platform.process.pid)}
    with suppress(psutil.Error, AssertionError):
        parts |= {name: platform.part(name) for name in PARTS}
        for child in parts["code"].children():
            if "forkserver" in " ".join(child.cmdline()):
                parts["fork server"] = child
    return parts


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder in which others remove folders meanwhile."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _size(files: Any) -> float:
    total = 0
    for file in files:
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _size_on_server(url: str) -> float:
    import psycopg

    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert found is not None
    return float(found[0])


if __name__ == "__main__":
    sys.exit(main())
