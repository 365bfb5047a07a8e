"""Work that is repeated in a thread: at once, on a wake-up, after an interval."""

import logging
import random
import threading
from collections.abc import Callable

from headrace_api.service_log import describe

_log = logging.getLogger(__name__)

SHORTEST_BACKOFF = 0.5
LONGEST_BACKOFF = 10.0


class Loop:
    """Calls `work` again and again until it is stopped.

    `work` returns true when it left more to do, which is then done at once, or the number of seconds after
    which there may be. Otherwise the loop waits for `interval` seconds or a wake-up; wake-ups during the work
    lead to one more round, however many they are. A failure is logged and never ends the loop: it waits
    0.5 s, then twice as long each time up to 10 s, whatever wakes it, so that a part that is down is not
    stormed.
    """

    def __init__(self, name: str, work: Callable[[], bool | float | None], *, interval: float) -> None:
        self._name = name
        self._work = work
        self._interval = interval
        self._woken = threading.Event()
        self._stopping = threading.Event()
        # A daemon thread: a request to a Dagster that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name=f"headrace-{name}", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes at once."""
        self._thread.start()

    def wake(self) -> None:
        """Ask for a round now, or for one more after the one under way."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the loop to end after the round under way; does not wait."""
        self._stopping.set()
        self._woken.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end of a loop that was asked to stop; False when `seconds` were too short."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            # Before the work: a wake-up during it may be for something that it did not see.
            self._woken.clear()
            try:
                more = self._work()
            except Exception as error:
                failures += 1
                _log.warning("%s: %s", self._name, describe(error))
                self._stopping.wait(backoff(failures))
                continue
            failures = 0
            if more is not True:
                self._woken.wait((more or self._interval) * random.uniform(0.9, 1.1))  # noqa: S311  # spreads, hides nothing


def backoff(failures: int) -> float:
    """Return how many seconds to wait after so many failures in a row, with jitter."""
    longest = min(SHORTEST_BACKOFF * 2.0 ** min(failures - 1, 10), LONGEST_BACKOFF)
    return random.uniform(longest / 2, longest)  # noqa: S311  # spreads, hides nothing
