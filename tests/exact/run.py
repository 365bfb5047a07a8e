"""Plays random histories and tells which went wrong: `make exact`, or `make exact EXACT="--seed 41"`.

Each is printed as a seed, by which it is played again: the seed decides source, destination, mode, columns,
values, changes and faults. One that went wrong is then reduced to the steps that it needs for that, and
printed as `--seed 41 --steps 0-2,7,9`.
"""

import argparse
import logging
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "support"):
    sys.path.insert(0, str(folder))

import reduction
from history import prepared
from history_steps import Plan, Script
from pydantic import SecretStr
from script import plans, script_of
from servers import Servers, run_servers

from headrace.connectors.kit.local_paths import start_relative_paths_at
from headrace.encryption import keyring_file
from headrace.service.platform import Platform
from headrace.settings import Settings

_CHUNK = 50
_REPORTED = 100
_SHRINK_SECONDS = 30
_MEMORY = Path("/dev/shm")


@dataclass(kw_only=True)
class Outcome:
    """How a history went."""

    seed: int
    plan: str
    problem: str = ""  # empty: none
    events: list[str] = field(default_factory=list)
    steps: str = ""  # to which it was reduced
    runs: int = 0
    refusals: int = 0


@contextmanager
def a_platform() -> Iterator[Platform]:
    """Make an installation on SQLite; remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="headrace-exact-") as name:
        home = Path(name)
        settings = Settings(
            home=home / "home",
            config_dir=home / "config",
            database_url=SecretStr(f"sqlite:///{home / 'records.db'}"),
            keyring_file=home / "keyring",
        )
        keyring_file.create(home / "keyring")
        platform = Platform.open(settings, migrate=True)
        try:
            yield platform
        finally:
            platform.close()
            start_relative_paths_at(None)  # other tests of this process have other homes


def play(seed: int, script: Script, platform: Platform, servers: Servers) -> Outcome:
    """Play a history."""
    outcome = Outcome(seed=seed, plan=named(script.plan))
    try:
        with prepared(script, platform, servers) as history:
            outcome.events = history.events
            try:
                history.play()
            finally:
                outcome.runs, outcome.refusals = history.runs, history.refusals
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome.problem = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    return outcome


def play_seed(seed: int, platform: Platform, servers: Servers, *, shrinks: bool = True) -> Outcome:
    """Play the history of a seed; reduce it if it goes wrong."""
    script = script_of(seed, servers.systems)
    outcome = play(seed, script, platform, servers)
    if not outcome.problem or not shrinks:
        return outcome

    def fails(smaller: Script) -> bool:
        return kind_of(play(seed, smaller, platform, servers).problem) == kind_of(outcome.problem)

    if not fails(script):
        outcome.problem = f"(not every time) {outcome.problem}"
        return outcome
    kept = reduction.shrunk(script, fails, seconds=_SHRINK_SECONDS)
    reduced = play(seed, reduction.only(script, kept), platform, servers)
    if reduced.problem:
        outcome.problem, outcome.events, outcome.steps = (
            reduced.problem,
            reduced.events,
            reduction.written(kept),
        )
    return outcome


def kind_of(problem: str) -> str:
    """Return what two problems share that have the same cause: no numbers, and no values."""
    return re.sub(r"\d+", "#", problem.partition(", such as")[0])[:70]


def named(plan: Plan) -> str:
    """Return what of a plan is not the default."""
    values = [f"{each.name}={value}" for each in fields(plan) if (value := getattr(plan, each.name))]
    return " ".join(values)


def described(outcome: Outcome) -> str:
    """Return what is printed of a history that went wrong."""
    steps = f" --steps {outcome.steps}" if outcome.steps else ""
    lines = [f"make exact EXACT='--seed {outcome.seed}{steps}'", outcome.plan, *outcome.events]
    return "\n  ".join([*lines, outcome.problem])


def work(seeds: Sequence[int], servers: Servers, outcomes: "multiprocessing.Queue[Outcome]") -> None:
    """Play the histories of seeds."""
    logging.disable()
    with servers:
        for start in range(0, len(seeds), _CHUNK):
            with a_platform() as platform:
                for seed in seeds[start : start + _CHUNK]:
                    outcomes.put(play_seed(seed, platform, servers))


def report(outcomes: "multiprocessing.Queue[Outcome]", count: int) -> int:
    """Print the histories that went wrong as they come, and how many there were; return that number."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    for done in range(1, count + 1):
        outcome = outcomes.get()
        counts["runs"] += outcome.runs
        counts["refusals"] += outcome.refusals
        if outcome.problem:
            counts["wrong"] += 1
            print(described(outcome), flush=True)
        if done % _REPORTED == 0 or done == count:
            seconds = time.monotonic() - started
            print(
                f"{done:,} histories of {len(plans())} plans, {counts['runs']:,} runs, "
                f"{counts['refusals']:,} refused: {counts['wrong']} wrong, {seconds:.0f} s",
                flush=True,
            )
    return counts["wrong"]


def play_one(options: Any) -> int:
    """Play the history of one seed, or some of its steps, and print what happens."""
    with run_servers() as servers, servers, a_platform() as platform:
        script = script_of(options.seed, servers.systems)
        if options.steps:
            script = reduction.only(script, reduction.read(options.steps))
        outcome = play(options.seed, script, platform, servers)
    print(outcome.plan, *outcome.events, outcome.problem or "exact", sep="\n")
    return bool(outcome.problem)


def main() -> int:
    """Play the histories; return 1 when one went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=10_000, help="how many to play (10,000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play the history of this seed only, and print its steps")
    parser.add_argument("--steps", help="of the seed's history only these, such as 0-3,7")
    parser.add_argument("--only", default="", help="only histories whose plan has this, such as source=rest")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if _MEMORY.is_dir() and "TMPDIR" not in os.environ and shutil.disk_usage(_MEMORY).free > 2 * 1024**3:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
    if options.seed is not None:
        return play_one(options)
    outcomes: multiprocessing.Queue[Outcome] = multiprocessing.Queue()
    last = options.first + options.histories
    with run_servers() as servers:
        seeds: Sequence[int] = range(options.first, last)
        if options.only:
            seeds = [seed for seed in seeds if options.only in named(script_of(seed, servers.systems).plan)]
        shares = [seeds[share :: options.processes] for share in range(options.processes)]
        workers = [
            multiprocessing.Process(target=work, args=(share, servers.of_process(number), outcomes))
            for number, share in enumerate(shares)
        ]
        for worker in workers:
            worker.start()
        wrong = report(outcomes, len(seeds))
        for worker in workers:
            worker.join()
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
