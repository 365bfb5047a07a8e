"""Measures how long repairs take, with the settings that everybody has: `make crash CRASH=--figures`."""

import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from home import Away, Home
from player import Player
from steps import RECORDS, History
from watch import TERMINAL, within
from world import World, a_world

_LOST_GOAL, _READY_GOAL, _DATABASE_GOAL = 30.0, 15.0, 5.0
_AT_ONCE = 5
_OUTAGES = (2, 8, 15, 25)


def measure(times: int, records: str | None) -> int:
    """Print all figures; return 1 if one misses its goal."""
    misses = 0
    for kind in [records] if records else RECORDS:
        misses += _measured(kind, "worker killed, until `failed`", _LOST_GOAL, lambda w: _workers(w, times))
        misses += _measured(kind, "all killed, from start to ready", _READY_GOAL, lambda w: _all(w, times))
        if kind == "postgres":
            misses += _measured(kind, "database back, until ready", _DATABASE_GOAL, _outages)
    return bool(misses)


def _measured(
    records: str, what: str, goal: float, measured: Callable[[World], tuple[list[float], list[str]]]
) -> bool:
    with a_world(records, short_leases=False) as world:
        seconds, problems = measured(world)
    in_order = sorted(seconds)
    p99 = in_order[min(len(in_order) - 1, int(0.99 * len(in_order)))] if in_order else float("inf")
    middle = in_order[len(in_order) // 2] if in_order else float("inf")
    print(
        f"{records}: {what}: {len(seconds)} times, median {middle:.1f} s, p99 {p99:.1f} s, most"
        f" {max(in_order, default=0):.1f} s (goal {goal:g} s); {len(problems)} problems",
        flush=True,
    )
    print(*problems, sep="\n", flush=True)
    return p99 > goal or bool(problems)


# Dead workers


def _workers(world: World, times: int) -> tuple[list[float], list[str]]:
    """Kill workers, some with their code server; return the seconds until their runs had failed."""
    home, seconds, problems = world.home, list[float](), list[str]()
    pipelines = [_slow(home, f"slow {number}") for number in range(_AT_ONCE)]
    rng = random.Random(1)
    while len(seconds) < times:
        runs = [run for pipeline in pipelines if (run := _run(home, pipeline))]
        within(60, lambda runs=runs: all(_run_of(home, run).get("status") == "running" for run in runs))
        time.sleep(rng.uniform(0, 5))  # at any time of a lease
        with_code = rng.random() < 0.5
        home.kill("worker")
        killed = time.monotonic()
        if with_code:
            home.kill("code")
        open_runs = set(runs)
        while open_runs and time.monotonic() - killed < 120:
            for run_id in list(open_runs):
                run = _run_of(home, run_id)
                if run.get("status") in TERMINAL:
                    open_runs.discard(run_id)
                    seconds.append(time.monotonic() - killed)
                    if run["error_code"] != "run.worker_lost":
                        problems.append(f"{run['status']} {run['error_code']}")
            time.sleep(0.1)
        problems += [f"run {run_id} had not failed after 120 s" for run_id in open_runs]
        within(60, home.is_ready)
    return seconds, problems


# Everything at once


def _all(world: World, times: int) -> tuple[list[float], list[str]]:
    """Kill everything again and again while pipelines run and grow; return the seconds to ready."""
    pipelines = tuple(
        {"source": source, "destination": destination, "mode": mode, "rows": 500, "attempts": 2, "slow": 0.5}
        for source, destination, mode in (
            ("postgres", "postgres", "append"), ("sqlite", "sqlite", "merge"), ("rest", "file", "replace"),
        )
    )  # fmt: skip
    history = History(seed=0, records="", pipelines=pipelines, steps=())
    player = _AllKilled(history, world, 0, times)
    outcome = player.play()
    return player.ready, outcome.problems


class _AllKilled(Player):
    """Kills everything in the midst of runs, so many times."""

    def __init__(self, history: History, world: World, number: int, times: int) -> None:
        steps = tuple({"do": "round", "number": place} for place in range(times))
        super().__init__(history.with_steps(steps), world, number)
        self.ready: list[float] = []
        self._rng = random.Random(2)

    def _do(self, step: dict[str, Any]) -> None:
        for line in self.lines:
            self._grow(line, {"rows": 5})
            self._run(line, {})
        time.sleep(self._rng.uniform(0, 3))
        self.home.kill("all")
        began = time.monotonic()
        self.home.start()
        self.home.wait_ready()
        self.ready.append(time.monotonic() - began)


# The database


def _outages(world: World) -> tuple[list[float], list[str]]:
    """Stop and freeze the records under healthy runs; return the seconds from their return to ready."""
    home, seconds, problems = world.home, list[float](), list[str]()
    pipelines = [_slow(home, f"slow {number}", records=90_000) for number in range(4)]
    for what in ("stopped", "frozen", "read_only"):
        for outage in _OUTAGES:
            runs = [run for pipeline in pipelines if (run := _run(home, pipeline))]
            within(60, lambda runs=runs: all(_run_of(home, run).get("status") == "running" for run in runs))
            before = {pid: part for pid, part in home.parts().items() if part != "other"}
            world.disturb_records(what, 600)
            time.sleep(outage)
            world.heal()
            back = time.monotonic()
            within(60, home.is_ready, 0.05)
            seconds.append(time.monotonic() - back)
            time.sleep(20)  # as long as the reaper waits after an outage, and a lease
            gone = [part for pid, part in before.items() if pid not in home.parts()]
            states = [_run_of(home, run) for run in runs]
            lost = [(run["status"], run["error_code"]) for run in states if run.get("status") != "running"]
            problems += [f"{what} for {outage} s: ended {gone}"] if gone else []
            problems += [f"{what} for {outage} s: {len(lost)} healthy runs lost: {lost[:1]}"] if lost else []
            _cancel(home, runs)
    return seconds, problems


def _cancel(home: Home, runs: Iterable[str]) -> None:
    for run_id in runs:
        with suppress(Away):
            home.ask("POST", f"/api/pipelines/runs/{run_id}/cancel")
    within(60, lambda: not home.pids("worker"))


def _slow(home: Home, name: str, *, records: int = 100_000) -> str:
    source = {"name": "dummy", "stream": "creatures", "records": records, "sleep": 0.2}
    config = {"name": "slow", "source": source, "destination": {"name": "logger"}}
    return str(home.ask("POST", "/api/pipelines", {"name": name, "config": config}).body["id"])


def _run(home: Home, pipeline_id: str) -> str:
    """Trigger a run; return its id, empty if it was not accepted."""
    with suppress(Away):
        answer = home.ask("POST", f"/api/pipelines/{pipeline_id}/run")
        return str(answer.body["id"]) if answer.status == 201 else ""
    return ""


def _run_of(home: Home, run_id: str) -> dict[str, Any]:
    with suppress(Away):
        answer = home.ask("GET", f"/api/pipelines/runs/{run_id}")
        return dict(answer.body) if answer.status == 200 else {}
    return {}
