"""Plays every fault at every failpoint, on both databases: `make faults`, or `make faults FAULTS="--help"`.

The cells of a load are played on lines, side by side: each line is a pipeline with a source and a destination
of its own. Faults that take a process of the platform away are played one after another.
"""

import argparse
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

for _folder in ("faults", "exact", "support"):
    sys.path.insert(0, str(Path(__file__).parents[1] / _folder))

from fault_cells import ALONE, PAUSED_SECONDS, Cell, cells
from fault_lines import Line
from fault_scenarios import SCENARIOS, fresh, play_load
from fault_world import READY_SECONDS, Probe, World, a_world
from servers import Servers, run_servers

GROUPS = ("loads", "gentle", "violent", "slots", "removals")
_stopped = threading.Event()
_AT_ONCE = 6
_LINES_AT_ONCE = 10
_A_LINE = 18
"""How many cells are played on one pipeline: after a few dozen runs its lists would be long."""
_SETTINGS = {"removals": {"HEADRACE_RETENTION_MAX_RUNS": "1", "HEADRACE_RETENTION_KEEP_RUNS": "1"}}


@dataclass
class Report:
    """What came of the cells."""

    records: str
    started: float = field(default_factory=time.monotonic)
    played: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def play(self, cell: Cell, play: Callable[[], None]) -> None:
        """Play a cell; print and keep what is wrong."""
        if _stopped.is_set():
            return
        began = time.monotonic()
        try:
            play()
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.fail(
                f"{cell.name}: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            )
        self.played[cell.group] += 1
        print(f"  {self.records} {cell.name} {time.monotonic() - began:.1f} s", flush=True)

    def fail(self, what: str) -> None:
        """Keep a violation."""
        self.wrong.append(f"{self.records} {what}")
        print(f"VIOLATION {self.records} {what[:600]}", flush=True)


def play_group(group: str, chosen: Sequence[Cell], records: str, servers: Servers, report: Report) -> None:
    """Play the cells of one group on a platform of its own, and check the platform at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-faults-", ignore_cleanup_errors=True) as folder,
        a_world(records, servers, Path(folder), **_SETTINGS.get(group, {})) as world,
    ):
        world.bugs_expected = any(cell.fault == "raise" for cell in chosen if not cell.target)
        if group == "loads":
            _play_loads(chosen, world, report)
        elif group == "violent":
            for cell in chosen:
                report.play(cell, partial(_play_violently, cell, world))
        else:
            alone = [cell for cell in chosen if cell.point in ALONE]
            _side_by_side(alone, 1, world, report)
            at_once = _AT_ONCE if group == "gentle" else 24  # the others mostly wait
            _side_by_side([cell for cell in chosen if cell not in alone], at_once, world, report)
        world.disarm()
        for found in world.check_all():
            report.fail(f"{group}: {found}")
        print(f"{records} {group}: away for {world.longest_away:.1f} s at most", flush=True)


def _scenario(cell: Cell, world: World) -> Callable[[], None]:
    return lambda: SCENARIOS[cell.point](world, cell.point, cell.action)


def _play_violently(cell: Cell, world: World) -> None:
    try:
        with Probe(world) as probe:
            SCENARIOS[cell.point](world, cell.point, cell.action)
            world.wait_ready()
    finally:
        world.disarm()
        if cell.fault == "kill":
            world.after_kill()
    world.longest_away = max(world.longest_away, probe.longest)
    limit = READY_SECONDS + (PAUSED_SECONDS if cell.fault == "pause" else 0.0)
    assert probe.longest < limit, f"not ready for {probe.longest:.1f} s"


def _side_by_side(chosen: Sequence[Cell], at_once: int, world: World, report: Report) -> None:
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        for future in [pool.submit(report.play, cell, _scenario(cell, world)) for cell in chosen]:
            future.result()


def _play_loads(chosen: Sequence[Cell], world: World, report: Report) -> None:
    """Play each line's cells one after another, and several lines side by side."""
    lines: dict[tuple[str, str], list[Cell]] = {}
    for cell in chosen:
        if not cell.is_first:
            lines.setdefault((cell.target, cell.mode), []).append(cell)
    with ThreadPoolExecutor(max_workers=_LINES_AT_ONCE) as pool:
        played = [
            pool.submit(_play_line, key, of_line[start : start + _A_LINE], world, report)
            for key, of_line in lines.items()
            for start in range(0, len(of_line), _A_LINE)
        ]
        first = [cell for cell in chosen if cell.is_first]
        played += [pool.submit(report.play, cell, _first_load(cell, world)) for cell in first]
        for future in played:
            future.result()


def _play_line(key: tuple[str, str], todo: Sequence[Cell], world: World, report: Report) -> None:
    line = None
    for cell in todo:
        wrong = len(report.wrong)
        line = line or fresh(world, *key)  # its first load is part of the first cell
        report.play(cell, _load(cell, line))
        if len(report.wrong) > wrong:
            line = None  # what went wrong must not spoil the next cell


def _load(cell: Cell, line: Line) -> Callable[[], None]:
    subject = line.writer if cell.point in ("file_written", "file_published") else line.pipeline_id
    also = {"extracting": "raise"} if cell.point == "failed" else {}
    if cell.point == "renewing":
        also = {"extracting": "hang 4"}  # or the run is over before the lease has to be renewed
    return lambda: play_load(line, cell.point, cell.action, subject, also)


def _first_load(cell: Cell, world: World) -> Callable[[], None]:
    def play() -> None:
        line = fresh(world, cell.target, cell.mode)
        _load(cell, line)()
        line.close()

    return play


def _stop(*_: object) -> None:
    """End after the cells that are being played, and end what was started."""
    _stopped.set()
    sys.exit(1)


def main() -> int:
    """Play the chosen cells; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", choices=("sqlite", "postgres"), action="append", help="both by default")
    parser.add_argument("--group", choices=GROUPS, action="append", help="all by default")
    parser.add_argument("--cell", action="append", help="only cells whose name holds this text")
    parser.add_argument("--list", action="store_true", help="print the cells and play none")
    options = parser.parse_args()
    chosen = [
        cell
        for cell in cells()
        if (not options.group or cell.group in options.group)
        and (not options.cell or any(text in cell.name for text in options.cell))
    ]
    if options.list:
        print(*(f"{cell.group} {cell.name}" for cell in chosen), f"{len(chosen)} cells", sep="\n")
        return 0
    wrong = 0
    signal.signal(signal.SIGTERM, _stop)
    with run_servers() as servers:
        for records in options.records or ("sqlite", "postgres"):
            report = Report(records=records)
            for group in GROUPS:
                of_group = [cell for cell in chosen if cell.group == group]
                if of_group:
                    play_group(group, of_group, records, servers, report)
            print(*report.wrong, sep="\n")
            seconds = time.monotonic() - report.started
            print(f"{records}: {report.played.total()} cells {dict(report.played)}: ", end="")
            print(f"{len(report.wrong)} violations, {seconds:.0f} s", flush=True)
            wrong += len(report.wrong)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
