"""Looks all the time while a history is played, and notes what may never be seen."""

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from home import PATIENCE, Away, Home
from tables import Row, Truth
from targets import Destination, Unreadable

TERMINAL = ("success", "failed", "cancelled")
_NEXT = {
    "pending": {"pending", "running", *TERMINAL},
    "running": {"running", "pending", *TERMINAL},
}


class Watch:
    """A thread that looks again and again until it is left."""

    def __init__(self, pause: float) -> None:
        self.problems: list[str] = []
        self._pause, self._left = pause, threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join(60)

    def look(self) -> None:
        """Look once."""
        raise NotImplementedError

    def _go(self) -> None:
        while not self._left.wait(self._pause):
            try:
                self.look()
            except (Away, Unreadable, sqlite3.Error, psycopg.Error):
                continue
            except Exception as error:
                self._note(f"the watch itself failed: {type(error).__name__}: {error}")

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


class RunWatch(Watch):
    """Sees each run's states over REST: none may follow that cannot follow."""

    def __init__(self, home: Home) -> None:
        super().__init__(0.25)
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.longest_answer = 0.0
        self._home = home

    def look(self) -> None:
        answer = self._home.ask("GET", "/api/runs?limit=50")
        self.longest_answer = max(self.longest_answer, answer.seconds)
        if answer.status == 200:
            for run in answer.body:
                self._see({key: run[key] for key in ("id", "status", "finished_at", "error", "started_at")})

    def _see(self, run: dict[str, Any]) -> None:
        seen = self.seen.setdefault(run["id"], [])
        if seen and seen[-1]["status"] in TERMINAL and seen[-1] != run:
            self._note(f"run {run['id']} had ended and changed: {seen[-1]} -> {run}")
        elif seen and run["status"] not in _NEXT.get(seen[-1]["status"], {run["status"]}):
            self._note(f"run {run['id']} went from {seen[-1]['status']} to {run['status']}")
        if not seen or seen[-1] != run:
            seen.append(run)


class FenceWatch(Watch):
    """Sees in the records that a fence never falls and has one Dagster run."""

    def __init__(self, home: Home) -> None:
        super().__init__(0.7)
        self._home = home
        self._holders: dict[tuple[str, int], str] = {}
        self._fences: dict[str, int] = {}

    def look(self) -> None:
        found = self._home.rows("SELECT id, fence, dagster_run_id, status FROM runs WHERE fence > 0")
        for run_id, fence, holder, status in found:
            if fence < self._fences.get(str(run_id), 0):
                self._note(f"the fence of run {run_id} fell to {fence}")
            self._fences[str(run_id)] = fence
            # Between attempts the row belongs to nobody: only a running one tells whose the fence is.
            if status == "running":
                known = self._holders.setdefault((str(run_id), fence), holder)
                if known != holder:
                    self._note(f"fence {fence} of run {run_id} is held by {known} and by {holder}")


class DestinationWatch(Watch):
    """Reads a destination: it must be a state of its source, whole, and never an older one than before."""

    def __init__(self, name: str, destination: Destination, truth: Truth) -> None:
        super().__init__(0.3)
        self._name, self._destination, self._truth = name, destination, truth
        self.place = 0

    def look(self) -> None:
        if self._destination.is_shared:
            self.check()

    def check(self) -> list[Row]:
        """Read once, and judge; return the rows. Raises Unreadable."""
        rows = self._destination.rows()
        place = self._truth.place(frozenset(rows))
        if len(rows) != len(set(rows)):
            self._note(f"{self._name}: {len(rows) - len(set(rows))} rows twice of {len(rows)}")
        elif place is None:
            self._note(f"{self._name}: {len(rows)} rows that the source has never been ({_batches(rows)})")
        elif place < self.place:
            self._note(f"{self._name}: went back from state {self.place} to {place}")
        else:
            self.place = place
        return rows


class CursorWatch(Watch):
    """Compares a pipeline's cursor with the destination, read after it: the cursor is never ahead."""

    def __init__(self, name: str, home: Home, pipeline_id: str, destination: Destination) -> None:
        super().__init__(0.7)
        self._name, self._home, self._pipeline_id, self._destination = name, home, pipeline_id, destination

    def look(self) -> None:
        if self._destination.is_shared:
            self.check()

    def check(self) -> None:
        """Compare once."""
        answer = self._home.ask("GET", f"/api/pipelines/{self._pipeline_id}/state")
        if answer.status != 200:
            return
        cursor = _number(answer.body["cursor"])
        newest = max((row[1] for row in self._destination.rows()), default=0)
        if cursor > newest:
            self._note(f"{self._name}: the cursor is at {cursor}, the destination's newest batch is {newest}")


def within(seconds: float, look: Callable[[], Any], pause: float = 0.15) -> Any:
    """Return the first true thing that `look` returns; what it returns last, after so many seconds."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(pause)


def _batches(rows: list[Row]) -> str:
    counts: dict[int, int] = {}
    for row in rows:
        counts[row[1]] = counts.get(row[1], 0) + 1
    return ", ".join(f"{counts[batch]} of batch {batch}" for batch in sorted(counts))


def _number(cursor: Any) -> int:
    """Return a cursor's value, in whichever form the state shows it; 0: none."""
    if isinstance(cursor, dict):
        cursor = next((cursor[name] for name in ("value", "cursor", "position") if name in cursor), None)
        return _number(cursor)
    try:
        return int(cursor)
    except (TypeError, ValueError):
        return 0
