"""Drops steps of a history that went wrong, while it still goes wrong."""

import time
from collections.abc import Callable

from steps import History, Step

_TRIES = 2  # a history that needs luck does not go wrong each time


def shrunk(history: History, fails: Callable[[History], bool], *, seconds: float) -> History:
    """Return the shortest history found that still fails, within about so many seconds.

    First halves are dropped, then quarters, down to single steps (Zeller's ddmin, without its complements).
    """
    deadline = time.monotonic() + seconds
    size = max(1, len(history.steps) // 2)
    while True:
        history, has_changed = _without_any(history, size, fails, deadline)
        if time.monotonic() > deadline or (size == 1 and not has_changed):
            return history
        size = max(1, size // 2)


def _without_any(
    history: History, size: int, fails: Callable[[History], bool], deadline: float
) -> tuple[History, bool]:
    start, has_changed = 0, False
    while start < len(history.steps) and time.monotonic() < deadline:
        steps: tuple[Step, ...] = history.steps[:start] + history.steps[start + size :]
        if steps and any(fails(history.with_steps(steps)) for _ in range(_TRIES)):
            history, has_changed = history.with_steps(steps), True
        else:
            start += size
    return history, has_changed
