"""Launches pending runs in Dagster.

A run's row is its own outbox, so that a run that was accepted is launched however often this process dies.
Launching is not idempotent: whoever tries again first asks Dagster for the run's tag. Where even that comes
too early, a run is launched twice, and the worker's claim lets one of the two work.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.store.upkeep import PendingLaunch
from headrace_api.dagster.client import JobNotFound
from headrace_api.dagster.runs import DagsterRun
from headrace_api.service_log import describe

_log = logging.getLogger(__name__)
ROOM_SECONDS = 0.2
"""How soon to look again while runs wait for others to end: workers wake nobody here."""
SOON_SECONDS = 3.0
"""Of a run that is due later the loop's own interval is soon enough to think."""

LAUNCHES = 3
"""How many processes of one attempt may end before their claim, until the run is given up."""


class Launches(Protocol):
    """The outbox: `headrace.service.upkeep.Upkeep`."""

    def lease_launches(self, limit: int) -> Sequence[PendingLaunch]: ...

    def seconds_to_launch(self) -> float | None: ...

    def launched(self, run_id: UUID, dagster_run_id: str) -> None: ...

    def launch_failed(self, run_id: UUID, launches: int) -> None: ...


class Launcher(Protocol):
    """Who launches: the Dagster client."""

    def launch(self, pipeline_id: UUID, run_id: UUID, attempt: int, *, is_scheduled: bool) -> str: ...

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]: ...

    def reload(self) -> None: ...


class Dispatcher:
    """Launches one due run a round."""

    def __init__(self, upkeep: Launches, dagster: Launcher) -> None:
        self._upkeep = upkeep
        self._dagster = dagster

    def work(self) -> bool | float:
        """Launch the oldest due run; returns whether there was one, or in how many seconds to look again.

        Only one is leased at a time: where Dagster hangs, the others stay due.
        """
        due = self._upkeep.lease_launches(1)
        for pending in due:
            self._dispatch(pending)
        return bool(due) or self._pause()

    def _pause(self) -> float:
        """Return the seconds until a run is due, or may have room; 0 where none waits that is due soon."""
        seconds = self._upkeep.seconds_to_launch()
        return 0.0 if seconds is None or seconds > SOON_SECONDS else max(seconds, ROOM_SECONDS)

    def _dispatch(self, pending: PendingLaunch) -> None:
        try:
            dagster_run_id = self._found(pending) or self._launched(pending)
        except JobNotFound as error:
            # The trouble of one pipeline: the others' runs need not wait for it.
            self._upkeep.launch_failed(pending.run_id, pending.launches)
            _log.warning("Run %s was not launched: %s", pending.run_id, describe(error))
        except HeadraceError:
            self._upkeep.launch_failed(pending.run_id, pending.launches)
            raise
        else:
            reach("launched", pending.pipeline_id)
            # A kill before this line leaves the lease; the next dispatcher finds the run by its tag.
            self._upkeep.launched(pending.run_id, dagster_run_id)

    def _found(self, pending: PendingLaunch) -> str | None:
        """Return Dagster's run of an attempt whose outcome nobody noted: one that goes on.

        One that has ended never claimed the run, which would not be pending, and can be followed by another;
        but not for ever.
        """
        if pending.launches == 0:
            return None
        found = self._dagster.find_by_run_tag(pending.run_id, pending.attempt)
        going = [run for run in found if not run.status.is_terminal]
        given_up = found if len(found) >= LAUNCHES else []
        return next((run.id for run in going or given_up), None)

    def _launched(self, pending: PendingLaunch) -> str:
        reach("launching", pending.pipeline_id)
        launch = partial(
            self._dagster.launch,
            pending.pipeline_id,
            pending.run_id,
            pending.attempt,
            is_scheduled=pending.is_scheduled,
        )
        try:
            return launch()
        except JobNotFound:
            # A pipeline made a moment ago, or one whose reload nobody lived to ask for.
            self._dagster.reload()
            return launch()
