"""Work that a thread repeats: at once, on a wake-up, or after an interval."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from headrace.errors import Unavailable
from headrace_api.service_log import describe

_log = logging.getLogger(__name__)

SHORTEST_BACKOFF = 0.5
LONGEST_BACKOFF = 10.0
T = TypeVar("T")
_signs: dict[int, float] = {}  # by thread: when the round of its loop has last shown that it goes on


def go_on() -> None:
    """Show that the round of this thread's loop goes on; to be called for each thing that it works at."""
    ident = threading.get_ident()
    if ident in _signs:
        _signs[ident] = time.monotonic()


def for_each(items: Iterable[T], work: Callable[[T], object]) -> None:
    """Work at each item: what goes wrong with one holds up none of the others, and is raised after them.

    Raises Unavailable at once: the others would wait for the same.
    """
    wrong: Exception | None = None
    for item in items:
        go_on()
        try:
            work(item)
        except Unavailable:
            raise
        except Exception as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong


class Loop:
    """Calls `work` again and again until it is stopped.

    If `work` returns True, there is more to do, and the next round follows at once. If it returns a number,
    the next round follows after so many seconds. Otherwise the loop waits for `interval` seconds. A wake-up
    ends either wait; any number of wake-ups during the work lead to one more round. A failure is logged and
    never ends the loop. After a failure the loop backs off: 0.5 s, then twice as long each time, at most 10
    s. Wake-ups do not shorten the backoff, so a service that is down is not flooded.
    """

    def __init__(self, name: str, work: Callable[[], bool | float | None], *, interval: float) -> None:
        self.name = name
        self._work = work
        self._interval = interval
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # A daemon thread: a request that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name=f"headrace-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread. The first round begins at once."""
        self._thread.start()

    def wake(self) -> None:
        """Ask for a round now, or for one more after the current one."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the loop to end after the current round. Does not wait."""
        self._stopping.set()
        self._woken.set()

    def join(self, seconds: float) -> bool:
        """Wait up to `seconds` for a loop that was asked to stop; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def silence(self) -> float:
        """Return for how many seconds the present round has not gone on; 0 between two rounds."""
        sign = _signs.get(self._thread.ident or 0)
        return 0.0 if sign is None else time.monotonic() - sign

    def _round(self) -> bool | float | None:
        ident = threading.get_ident()
        _signs[ident] = time.monotonic()
        try:
            return self._work()
        finally:
            del _signs[ident]

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            # Cleared before the work: a wake-up during the work may be for a row that the work did not see.
            self._woken.clear()
            try:
                more = self._round()
            except Exception as error:
                failures += 1
                _log.warning("%s: %s", self.name, describe(error))
                self._stopping.wait(backoff(failures))
                continue
            failures = 0
            if more is not True:
                self._woken.wait((more or self._interval) * random.uniform(0.9, 1.1))  # noqa: S311  # jitter, not a secret


def backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row, with jitter."""
    longest = min(SHORTEST_BACKOFF * 2.0 ** min(failures - 1, 10), LONGEST_BACKOFF)
    return random.uniform(longest / 2, longest)  # noqa: S311  # jitter, not a secret
