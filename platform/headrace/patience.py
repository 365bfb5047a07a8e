"""Doing something again while what it needs is away."""

import time
from collections.abc import Callable
from typing import TypeVar

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 2.0

T = TypeVar("T")


def patiently(
    work: Callable[[], T],
    *,
    passing: type[Exception] | tuple[type[Exception], ...],
    seconds: float,
    told: Callable[[Exception], None] = lambda error: None,
) -> T:
    """Return what `work` returns. Repeat it for `seconds` while it raises errors that may pass.

    `told` hears of each one. The last one is raised. The pauses double, from 0.1 s to 2 s.
    """
    deadline, pause = time.monotonic() + seconds, _FIRST_SECONDS
    while True:
        try:
            return work()
        except passing as error:
            if time.monotonic() + pause > deadline:
                raise
            told(error)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_SECONDS)
