"""Stops Dagster's runs that have ended here: cancelled runs, lost attempts, launches without a claim."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from headrace.failpoints import reach
from headrace.records import Run
from headrace_api.control.launches import is_lost
from headrace_api.control.loop import for_each
from headrace_api.dagster.runs import DagsterRun

RUNS_A_ROUND = 10


class Stops(Protocol):
    """The runs to stop: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def lease_stops(self, limit: int) -> Sequence[Run]: ...

    def stopped(self, run_id: UUID) -> None: ...


class Stopper(Protocol):
    """What stops runs: the Dagster client."""

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def terminate(self, run: DagsterRun) -> None: ...


class Terminator:
    """Asks Dagster to stop a run, once with each lease, until the run has ended there too, and as here."""

    def __init__(self, upkeep: Stops, dagster: Stopper) -> None:
        self._upkeep = upkeep
        self._dagster = dagster

    def work(self) -> bool:
        """Stop the runs that are due; return whether there may be more."""
        due = self._upkeep.lease_stops(RUNS_A_ROUND)
        for_each(due, self._stop)
        return len(due) == RUNS_A_ROUND

    def _stop(self, run: Run) -> None:
        found = self._all(run) if run.status.is_terminal else self._left_behind(run)
        going = [known for known in found if not known.status.is_terminal]
        reach("stopping", run.pipeline_id)
        for known in going:
            self._dagster.terminate(known)
            reach("asked_to_stop", run.pipeline_id)
        if not going and not _differs(run, found):
            self._upkeep.stopped(run.id)
            reach("stopped", run.pipeline_id)

    def _all(self, run: Run) -> list[DagsterRun]:
        """Return every Dagster run of a run that has ended.

        The tag also finds a launch that was never recorded; the id also finds a run started in Dagster's UI.
        """
        found = self._dagster.find_by_run_tag(run.id)
        if run.dagster_run_id and all(known.id != run.dagster_run_id for known in found):
            found += self._dagster.runs([run.dagster_run_id])
        return found

    def _left_behind(self, run: Run) -> list[DagsterRun]:
        """Return the Dagster runs of an active run's earlier attempts and of its lost launches."""
        earlier = [
            known
            for attempt in range(1, run.attempt)
            for known in self._dagster.find_by_run_tag(run.id, attempt)
        ]
        present = self._dagster.find_by_run_tag(run.id, run.attempt)
        # Before a launch is recorded, one that is not lost may be on its way to its claim.
        return earlier + [
            known
            for known in present
            if known.id != run.dagster_run_id and (run.dagster_run_id or is_lost(known))
        ]


def _differs(run: Run, found: Sequence[DagsterRun]) -> bool:
    """Return whether Dagster says another end of an ended run. The code server then tells Dagster."""
    ends = [known.status for known in found if known.id == run.dagster_run_id]
    return run.status.is_terminal and any(status is not run.status for status in ends)
