"""Plays random histories on real platforms and tells which went wrong: `make crash`.

`make crash CRASH="--seed 41"` plays the history of a seed again, on SQLite and on PostgreSQL unless
`--records` names one; `--replay FILE` plays a stored one. `--figures` measures how long repairs take instead.
"""

import argparse
import queue
import signal
import sys
import time
import traceback
from collections import Counter, deque
from itertools import count
from multiprocessing import Process, Queue
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "support"):
    sys.path.insert(0, str(folder))

from later import settle
from line import Outcome
from player import Player
from shrink import shrunk
from steps import RECORDS, History, history_of
from timetable import Timetable
from world import World, a_world, clock_library

_A_PLATFORM = 25  # histories that one platform lives through
_SHRINK_SECONDS = 240.0
_LOGS_OF_FAILED = 60


def play(history: History, world: World, number: int) -> Outcome:
    """Play a history on a running platform."""
    try:
        return Player(history, world, number).play()
    except Exception:
        return Outcome(history=history, problems=[traceback.format_exc()], events=[], seconds=0)


def play_alone(history: History) -> Outcome:
    """Play a history on a platform of its own, to the end of everything that must become true later."""
    has_clock = any(step["do"] == "clock" for step in history.steps)
    with a_world(history.records, with_clock=has_clock) as world:
        outcome = play(history, world, 0)
        outcome.problems += settle(world.later, wait=True)
        if outcome.problems:
            outcome.events.append(world.home.log_ends(_LOGS_OF_FAILED))
    return outcome


def work(records: str, seeds: range, until: float, shrink: bool, outcomes: "Queue[Outcome | None]") -> None:
    """Play the histories of seeds, some on each platform, until the time is up."""
    left = deque(seeds)
    for number in count():
        if not left or time.time() > until:
            break
        first = left[0]
        with_clock = clock_library() is not None and number % 4 == 1
        try:
            with a_world(records, with_clock=with_clock) as world:
                wrong = _work_on(world, left, records, until, outcomes)
        except Exception:
            told = [traceback.format_exc()]
            history = history_of(first, records)
            outcomes.put(Outcome(history=history, problems=told, events=[], seconds=0, is_new=False))
            wrong = None
        if wrong is not None and shrink:
            outcomes.put(_shorter(wrong))
    outcomes.put(None)


def _work_on(
    world: World, left: "deque[int]", records: str, until: float, outcomes: "Queue[Outcome | None]"
) -> History | None:
    """Play on one platform until something is wrong with it; return the history that went wrong."""
    outcome: Outcome | None = None
    timetable = Timetable.begin(world.home)
    for number in range(_A_PLATFORM):
        if not left or time.time() > until:
            break
        history = history_of(left.popleft(), records, has_clock=world.clock is not None)
        outcome = play(history, world, number)
        outcome.problems += settle(world.later, wait=False)
        if outcome.problems:
            outcome.events.append(world.home.log_ends(_LOGS_OF_FAILED))
        outcomes.put(outcome)
        if outcome.problems:
            # The next histories must not suffer from what is wrong with this platform.
            return history
    late = settle(world.later, wait=True)
    if world.clock is None:
        late += timetable.problems()
    if late and outcome is not None:
        events = [world.home.log_ends(_LOGS_OF_FAILED)]
        outcomes.put(Outcome(history=outcome.history, problems=late, events=events, seconds=0, is_new=False))
    return None


def _shorter(history: History) -> Outcome:
    """Return the outcome of the shortest history that still goes wrong."""
    kept: list[Outcome] = []

    def fails(shorter: History) -> bool:
        outcome = play_alone(shorter)
        outcome.is_new = False
        if outcome.problems:
            kept.append(outcome)
        return bool(outcome.problems)

    found = shrunk(history, fails, seconds=_SHRINK_SECONDS)
    return next(
        (one for one in reversed(kept) if one.history == found),
        Outcome(history=found, problems=["not seen again alone"], events=[], seconds=0, is_new=False),
    )


class Report:
    """Prints outcomes as they come, and the sums."""

    def __init__(self, folder: Path | None) -> None:
        self.played, self.wrong = 0, 0
        self._folder = folder
        self._runs: Counter[str] = Counter()
        self._times: list[tuple[float, float, float]] = []
        self._began = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Take one outcome."""
        if outcome.problems:
            self._tell(outcome)
        if not outcome.is_new:
            return
        self.played += 1
        self.wrong += bool(outcome.problems)
        self._runs += outcome.runs
        self._note_failures(outcome)
        self._times.append((outcome.seconds, outcome.ready_seconds, outcome.ended_seconds))
        if self.played % 10 == 0:
            print(self.sums(), flush=True)

    def _note_failures(self, outcome: Outcome) -> None:
        failures = [event for event in outcome.events if " failed: " in event]
        if self._folder is not None and failures:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "failures.txt").open("a") as file:
                seed = f"seed {outcome.history.seed} on {outcome.history.records}"
                file.write("\n".join([f"{seed}: {outcome.history.steps}", *failures, ""]))

    def sums(self) -> str:
        """Return how many were played and how they went."""
        columns = list(zip(*self._times, strict=True)) or [()] * 3
        middle = [sorted(column)[len(column) // 2] if column else 0 for column in columns]
        longest = [max(column, default=0) for column in columns]
        return (
            f"{self.played} histories in {time.monotonic() - self._began:.0f} s: {self.wrong} wrong."
            f" Seconds of one, to ready, to all ended: median {_tenths(middle)}, most {_tenths(longest)}."
            f" Runs: {dict(self._runs.most_common())}"
        )

    def _tell(self, outcome: Outcome) -> None:
        history = outcome.history
        print(f"\nseed {history.seed} on {history.records}: {len(outcome.problems)} problems", flush=True)
        for problem in outcome.problems[:8]:
            print(f"  {problem[:1500]}")
        if self._folder is not None:
            name = f"{history.records}-{history.seed}-{len(history.steps)}-{self.played}"
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{name}.json").write_text(history.as_json())
            told = "\n".join([*outcome.problems, "", *outcome.events])
            (self._folder / f"{name}.txt").write_text(told)
        print(history.as_json(), flush=True)


def _tenths(numbers: list[float]) -> str:
    return "/".join(f"{number:.1f}" for number in numbers)


def main() -> int:
    """Play; return 1 when a history went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=2_000, help="how many to play (2,000)")
    parser.add_argument(
        "--minutes", type=float, default=24 * 60.0, help="when to stop, however many are left"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="play the history of this seed only")
    parser.add_argument("--replay", type=Path, help="play a stored history")
    parser.add_argument("--records", choices=RECORDS, help="on this database only")
    parser.add_argument("--no-shrink", action="store_true", help="print histories as they went wrong")
    parser.add_argument("--keep", type=Path, help="folder for the histories that went wrong, with their logs")
    parser.add_argument("--figures", action="store_true", help="measure how long repairs take")
    parser.add_argument("--times", type=int, default=50, help="how often (50)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    if options.figures:
        import figures

        return figures.measure(options.times, options.records)
    if options.seed is not None or options.replay is not None:
        return _play_some(options)
    return _play_many(options)


def _end(*_: object) -> None:
    """End by an exception, so that every platform and server that was started is ended, too."""
    sys.exit(128 + signal.SIGTERM)


def _play_some(options: argparse.Namespace) -> int:
    if options.replay is not None:
        histories = [History.read(options.replay)]
    else:
        kinds = [options.records] if options.records else RECORDS
        histories = [history_of(options.seed, records) for records in kinds]
    report = Report(options.keep)
    for history in histories:
        print(history.as_json(), flush=True)
        outcome = play_alone(history)
        print(*outcome.events, sep="\n")
        report.add(outcome)
    print(report.sums())
    return bool(report.wrong)


def _play_many(options: argparse.Namespace) -> int:
    if clock_library() is None:
        print("Clocks are not moved: HEADRACE_TEST_FAKETIME names no library of libfaketime.")
    kinds = [options.records] if options.records else list(RECORDS)
    outcomes: Queue[Outcome | None] = Queue()
    until = time.time() + 60 * options.minutes
    each = options.histories // len(kinds)
    seeds = range(options.first, options.first + each)
    workers = [
        Process(target=work, args=(kind, seeds, until, not options.no_shrink, outcomes)) for kind in kinds
    ]
    for worker in workers:
        worker.start()
    report, going = Report(options.keep), len(workers)
    try:
        while going:
            try:
                outcome = outcomes.get(timeout=5)
            except queue.Empty:
                if not any(worker.is_alive() for worker in workers):
                    break
                continue
            if outcome is None:
                going -= 1
            else:
                report.add(outcome)
    finally:
        for worker in workers:
            worker.terminate()  # one that has ended takes no notice
        for worker in workers:
            worker.join()
    print(report.sums())
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(main())
