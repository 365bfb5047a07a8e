"""The lease of a worker, renewed by a thread that also reports progress and notices a cancel."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from headrace.engine.job import Progress
from headrace.errors import HeadraceError, Unavailable
from headrace.failpoints import reach
from headrace.patience import patiently
from headrace.records import Run, RunPhase, RunStatus
from headrace.store.lifecycle.leases import Ending, LeaseStore

STUCK_SECONDS = 5.0
"""Grace period of a worker that must stop, before it is killed: a driver in C code ignores signals."""

PROGRESS_SECONDS = 1.0
"""How often progress is written to the run's row."""

OUTAGE_SECONDS = 60.0
"""How long a worker waits for a database that is away, where it cannot go on without."""
_RETRY_SECONDS = 1.0
"""How soon a renewal is tried again: after an outage, workers must renew before they are taken for lost."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class RunStopped(HeadraceError):
    """The worker has lost the run: it was cancelled, or the lease expired."""

    code = "run.stopped"
    title = "Run stopped"


class TimedOut(HeadraceError):
    """The attempt took longer than the pipeline's policy allows."""

    code = "run.timed_out"
    title = "Run timed out"
    hint = "Raise the policy's timeout_seconds, or have the run read less at once."


class Lease:
    """The lease of one run. The engine's thread calls `check` and `report`, which never block."""

    def __init__(
        self,
        leases: LeaseStore,
        run: Run,
        *,
        seconds: float,
        timeout_seconds: float | None,
        end_process: Callable[[], None],
    ) -> None:
        self._leases = leases
        self._run = run
        self._interval = seconds / 3
        self._end_process = end_process
        self._timeout = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds if timeout_seconds else None
        self._progress = self._written = Progress(phase=RunPhase.EXTRACT, rows=0, bytes=0)
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def report(self, progress: Progress) -> None:
        """Store the progress, which the next renewal writes."""
        self._progress = progress

    def check(self) -> None:
        """Raise RunStopped if the worker is known to have lost the run. Does not ask the database.

        Raises TimedOut once the attempt has taken too long.
        """
        if self._lost.is_set():
            raise RunStopped("The run was cancelled, or its lease ran out.")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimedOut(self._too_long())

    def check_with_database(self) -> None:
        """Raise RunStopped unless the database confirms that the worker still has the run.

        To be called before what cannot be taken back. A database that is away is waited for. Raises
        Unavailable if that takes too long.
        """
        if not until_written(self._renew, seconds=OUTAGE_SECONDS):
            self._lost.set()
        self.check()

    def lift_timeout(self) -> None:
        """Let the attempt take as long as it needs from now on: its data is in the destination."""
        self._deadline = None

    @contextmanager
    def kept(self) -> Iterator["Lease"]:
        """Renew the lease during the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._done.set()
            self._thread.join(timeout=self._interval)

    def _keep(self) -> None:
        due = time.monotonic() + self._interval
        while not self._done.wait(min(self._interval, PROGRESS_SECONDS)):
            deadline = self._deadline  # another thread may lift it
            if deadline is not None and time.monotonic() > deadline + STUCK_SECONDS:
                self._give_up()
                return
            if time.monotonic() < due and self._progress is self._written:
                continue
            due = time.monotonic() + self._interval
            try:
                reach("renewing", self._run.pipeline_id)
                held = self._renew()
            except Exception as error:  # whatever it is: without this thread the run is lost
                _log.warning("The lease of run %s was not renewed: %s.", self._run.id, type(error).__name__)
                due = time.monotonic() + _RETRY_SECONDS
                continue  # The fence decides who has the run by then, not this clock.
            if not held:
                self._lost.set()
                if not self._done.wait(STUCK_SECONDS):
                    self._end_process()
                return

    def _give_up(self) -> None:
        """End an attempt that has timed out and whose thread does not notice."""
        ending = Ending(
            status=RunStatus.FAILED, error_code=TimedOut.code, error=self._too_long(), may_pass=True
        )
        with suppress(HeadraceError):  # the reaper then ends it
            until_written(lambda: self._leases.end(self._run, ending), seconds=STUCK_SECONDS)
        self._end_process()

    def _too_long(self) -> str:
        return f"The attempt took longer than {self._timeout:g} s."

    def _renew(self) -> bool:
        progress = self._written = self._progress
        return self._leases.renew(self._run, phase=progress.phase, rows=progress.rows, bytes_=progress.bytes)


def until_written(write: Callable[[], T], *, seconds: float) -> T:
    """Return what `write` returns. Retry for `seconds` while the database does not answer.

    Raises Unavailable after that: the reaper then ends the run.
    """
    return patiently(write, passing=Unavailable, seconds=seconds)
