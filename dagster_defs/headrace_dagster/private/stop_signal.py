"""How the code server tells a worker to stop, without ever waiting for it.

`multiprocessing.Event.set` waits until each process that waits for the event has woken up. A worker that was
killed never does, so Dagster's code server would wait for ever, with the lock that every launch needs.
"""

from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event


class StopSignal(Event):
    """An event that is set once. Setting it only posts a semaphore."""

    def is_set(self) -> bool:
        """Return whether the signal was given."""
        return self.wait(0)

    def set(self) -> None:
        """Give the signal. Returns at once, whatever has become of those who wait."""
        self._flag.release()

    def clear(self) -> None:
        """Refuse: a stop is final."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Return True once the signal was given, False after `timeout` seconds."""
        if not self._flag.acquire(True, timeout):
            return False
        self._flag.release()  # for the next who asks
        return True


class Workers(ForkServerContext):
    """Starts workers from a fork server, each with a `StopSignal`."""

    def Event(self) -> StopSignal:  # noqa: N802  # multiprocessing's name
        """Return a new signal."""
        return StopSignal(ctx=self)
