"""The signal by which the code server stops a worker, without waiting for the worker.

`multiprocessing.Event.set` waits until every process that waits for the event has woken up. A killed worker
never does, so Dagster's code server would wait for ever while it holds the lock that every launch needs.
"""

import time
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from typing import Any


class StopSignal(Event):
    """An event that is set once, by releasing a semaphore."""

    _flag: Any  # the semaphore of multiprocessing's Event
    given_at: float | None = None  # by the monotonic clock; None: not given by this process

    def is_set(self) -> bool:
        """Return whether the signal was given."""
        return self.wait(0)

    def set(self) -> None:
        """Give the signal. Returns at once, even if a waiting process has died."""
        self.given_at = self.given_at or time.monotonic()
        self._flag.release()

    def clear(self) -> None:
        """Refuse: a stop is final."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Return True once the signal was given, False after `timeout` seconds."""
        if not self._flag.acquire(True, timeout):
            return False
        self._flag.release()  # for the next caller
        return True


class Workers(ForkServerContext):
    """Starts workers from a fork server, each with a `StopSignal`."""

    def Event(self) -> StopSignal:  # noqa: N802  # multiprocessing's name
        """Return a new signal."""
        return StopSignal(ctx=self)
