"""Plays random histories and tells which went wrong: `make exact`, or `make exact EXACT="--seed 41"`.

Each prints as a seed, by which it is played again: the seed decides source, destination, mode, columns,
values, changes and faults.
"""

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Process, Queue
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "support"):
    sys.path.insert(0, str(folder))

from history import plan_of, plans, prepared
from pydantic import SecretStr
from servers import Servers, run_servers

from headrace.connectors.kit.local_paths import start_relative_paths_at
from headrace.encryption import keyring_file
from headrace.service.platform import Platform
from headrace.settings import Settings

_CHUNK = 50
_REPORTED = 500
Outcome = tuple[int, str, str, list[str]]  # seed, plan, problem (empty: none), events


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


def play(seed: int, platform: Platform, servers: Servers) -> Outcome:
    """Play the history of a seed."""
    problem, events = "", []
    try:
        with prepared(seed, platform, servers) as history:
            events = history.events
            history.play()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    return seed, str(plan_of(seed, servers)), problem, events


def work(seeds: range, outcomes: "Queue[Outcome]") -> None:
    """Play the histories of seeds on servers of this process's own."""
    logging.disable()
    with run_servers() as servers:
        for start in range(0, len(seeds), _CHUNK):
            with a_platform() as platform:
                for seed in seeds[start : start + _CHUNK]:
                    outcomes.put(play(seed, platform, servers))


def report(outcomes: "Queue[Outcome]", count: int) -> list[Outcome]:
    """Print the histories that went wrong as they come, and return them."""
    started = time.monotonic()
    failed = []
    for done in range(1, count + 1):
        outcome = outcomes.get()
        if outcome[2]:
            failed.append(outcome)
            print(f"seed {outcome[0]}: {outcome[1]}: {outcome[2][:300]}", flush=True)
        if done % _REPORTED == 0 or done == count:
            seconds = time.monotonic() - started
            print(
                f"{done:,} histories of {len(plans())} plans: {len(failed)} wrong, {seconds:.0f} s",
                flush=True,
            )
    return failed


def main() -> int:
    """Play the histories; return 1 when one went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=10_000, help="how many to play (10,000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play the history of this seed only, and print its events")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        with run_servers() as servers, a_platform() as platform:
            _, plan, problem, events = play(options.seed, platform, servers)
        print(plan, *events, problem or "exact", sep="\n")
        return bool(problem)
    outcomes: Queue[Outcome] = Queue()
    last = options.first + options.histories
    shares = [range(options.first + share, last, options.processes) for share in range(options.processes)]
    workers = [Process(target=work, args=(share, outcomes)) for share in shares]
    for worker in workers:
        worker.start()
    failed = report(outcomes, options.histories)
    for worker in workers:
        worker.join()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
