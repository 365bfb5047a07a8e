"""How Headrace does as a control plane, beside others: `make bench-control`, options in BENCH.

Each pair of a database and a number of pipelines gets a platform of its own, on a fresh home. The parts:
`creates` `triggers` `load` `cancels` `usage` at each size; `schedules` and `stored` at the largest alone.
All processes, the database and this client share the machine.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import httpx
from benchmarks.control_plane.figures import Report
from benchmarks.control_plane.peers import PEERS
from benchmarks.control_plane.platform import run_platform
from benchmarks.control_plane.processor import Neighbours
from benchmarks.control_plane.registry import creates
from benchmarks.control_plane.runs import cancels, load, triggers
from benchmarks.control_plane.schedules import schedules
from benchmarks.control_plane.stored import stored
from benchmarks.control_plane.usage import usage
from postgres_server import run_postgres

PARTS = ("usage", "creates", "triggers", "load", "cancels", "schedules", "stored")
_BACKENDS = {"sqlite": "sqlite", "postgres": "postgresql"}
_AT_THE_LARGEST = ("schedules", "stored")


def main() -> None:
    """Measure what was asked for, and print it."""
    asked = _arguments()
    # A stop unwinds what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    report = Report(asked.json)
    for backend in asked.backends:
        for pipelines in asked.pipelines:
            parts = [
                part
                for part in PARTS
                if part in asked.parts and (part not in _AT_THE_LARGEST or pipelines == max(asked.pipelines))
            ]
            if parts:
                _measure(asked, report, backend, pipelines, parts)
    for name in asked.peers:
        try:
            PEERS[name](asked, report)
        except (SystemExit, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
            # One that cannot be had or does not keep up must not take the others' figures away.
            report.refuse(name, error)


def _measure(
    asked: argparse.Namespace, report: Report, backend: str, pipelines: int, parts: list[str]
) -> None:
    measures = {
        "usage": lambda: usage(platform, asked.rest_seconds),
        "creates": lambda: creates(platform, asked.creates),
        "triggers": lambda: triggers(platform, asked.runs),
        "load": lambda: load(platform, asked.load),
        "cancels": lambda: cancels(platform, asked.cancels),
        "schedules": lambda: schedules(platform, asked.schedules),
        "stored": lambda: stored(platform, asked.stored),
    }
    with _database(backend) as url, run_platform(url, pipelines=pipelines) as platform:
        for part in parts:
            neighbours = Neighbours(platform.process.pid)
            figures = measures[part]()
            others = f"all others took {neighbours.cores():.1f} of {os.cpu_count()} cores"
            report.add(f"Headrace, {backend}, {pipelines:,} pipelines: {part} ({others})", figures)


@contextmanager
def _database(backend: str) -> Iterator[str | None]:
    if backend == "sqlite":
        yield None
        return
    with run_postgres() as server:
        yield server.fresh_database()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-control BENCH=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--backends", type=_backends, default=list(_BACKENDS.values()), help=",".join(_BACKENDS)
    )
    parser.add_argument("--pipelines", type=_numbers, default=[10, 1000], help="for example 10,1000,5000")
    parser.add_argument("--parts", type=_list, default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--creates", type=int, default=20, help="pipelines to create, one after another")
    parser.add_argument("--runs", type=int, default=20, help="runs to trigger, one after another")
    parser.add_argument("--load", type=int, default=40, help="runs to trigger all at once")
    parser.add_argument("--cancels", type=int, default=5, help="runs to cancel, one after another")
    parser.add_argument("--schedules", type=int, default=50, help="schedules due in one minute")
    parser.add_argument("--stored", type=int, default=100_000, help="runs to have stored")
    parser.add_argument("--rest-seconds", type=float, default=60, help="how long to look at rest")
    parser.add_argument("--peers", type=_list, default=list(PEERS), help=",".join(PEERS))
    parser.add_argument("--no-peers", dest="peers", action="store_const", const=[])
    parser.add_argument("--json", type=Path, help="file to write the tables to as well")
    return parser.parse_args()


def _backends(text: str) -> list[str]:
    asked = [_BACKENDS.get(name, name) for name in _list(text)]
    if not set(asked) <= set(_BACKENDS.values()):
        raise argparse.ArgumentTypeError(f"Choose from {', '.join(_BACKENDS)}.")
    return asked


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in _list(text)]


if __name__ == "__main__":
    main()
