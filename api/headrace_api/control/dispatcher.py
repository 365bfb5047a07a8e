"""Launches pending runs in Dagster.

A run's row is its own outbox, so an accepted run is launched however often this process dies. Launching is
not idempotent, so a retry first asks Dagster for runs with the run's tag. If Dagster does not list the first
launch yet, the run is launched twice, and only one of the two workers can claim it.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.store.lifecycle.upkeep import PendingLaunch
from headrace_api.control.launches import are_enough, is_lost
from headrace_api.dagster.client import JobNotFound
from headrace_api.dagster.runs import DagsterRun
from headrace_api.service_log import describe

_log = logging.getLogger(__name__)
ROOM_SECONDS = 0.2
"""Polling interval while runs wait for others to end, because workers cannot wake this process."""
SOON_SECONDS = 3.0
"""Runs that are due later than this wait for the regular interval."""


class Launches(Protocol):
    """The outbox: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def lease_launches(self, limit: int) -> Sequence[PendingLaunch]: ...

    def seconds_to_launch(self) -> float | None: ...

    def launched(self, run_id: UUID, dagster_run_id: str) -> None: ...

    def launch_failed(self, run_id: UUID, launches: int) -> None: ...


class Launcher(Protocol):
    """What launches runs: the Dagster client."""

    def launch(self, pipeline_id: UUID, run_id: UUID, attempt: int, *, is_scheduled: bool) -> str: ...

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]: ...

    def reload(self) -> None: ...

    def require_launchable(self) -> None: ...


class Dispatcher:
    """Launches one due run in each round."""

    def __init__(self, upkeep: Launches, dagster: Launcher) -> None:
        self._upkeep = upkeep
        self._dagster = dagster

    def work(self) -> bool | float:
        """Launch the oldest due run. Return True if there was one, else the seconds until the next look.

        Leases one run at a time, so that the others stay due if Dagster hangs.
        """
        due = self._upkeep.lease_launches(1)
        for pending in due:
            reach("leased", pending.pipeline_id)
            self._dispatch(pending)
        return bool(due) or self._pause()

    def _pause(self) -> float:
        """Return the seconds until a run is due or may find room; 0 if no run is due soon."""
        seconds = self._upkeep.seconds_to_launch()
        return 0.0 if seconds is None or seconds > SOON_SECONDS else max(seconds, ROOM_SECONDS)

    def _dispatch(self, pending: PendingLaunch) -> None:
        try:
            dagster_run_id = self._found(pending) or self._launched(pending)
        except JobNotFound as error:
            # A problem of one pipeline must not hold up the runs of the others.
            self._postpone(pending)
            _log.warning("Run %s was not launched: %s", pending.run_id, describe(error))
        except HeadraceError:
            self._postpone(pending)
            raise
        else:
            reach("launched", pending.pipeline_id)
            # A kill before this line leaves the lease. The next dispatcher finds Dagster's run by its tag.
            self._upkeep.launched(pending.run_id, dagster_run_id)
            reach("recorded", pending.pipeline_id)

    def _postpone(self, pending: PendingLaunch) -> None:
        self._upkeep.launch_failed(pending.run_id, pending.launches)
        reach("postponed", pending.pipeline_id)

    def _found(self, pending: PendingLaunch) -> str | None:
        """Return Dagster's run from an earlier launch of this attempt, if it is still going.

        An ended one never claimed the run, which would otherwise not be pending, so another launch may
        follow. After enough of them, an ended one is returned, and the reconciler fails the run. Raises
        DagsterUnavailable if no launch can be made now: it would leave one more failed run in Dagster.
        """
        if pending.launches == 0:
            return None
        found = self._dagster.find_by_run_tag(pending.run_id, pending.attempt)
        going = [run for run in found if not run.status.is_terminal and not is_lost(run)]
        given_up = found if are_enough(found) else []
        if not going and not given_up:
            self._dagster.require_launchable()
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
            # The pipeline is new, or a process died before it asked for the reload.
            self._dagster.reload()
            return launch()
