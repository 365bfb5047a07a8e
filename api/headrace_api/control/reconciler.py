"""Repairs rows that say a run goes on where Dagster says that it has ended.

A worker writes its result before Dagster learns of the end; so whatever has ended in Dagster and goes on here
lost its worker, or never got one. Where the worker is gone and Dagster does not notice, the lease decides.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from headrace.records import Run, RunStatus
from headrace_api.control.dispatcher import LAUNCHES
from headrace_api.dagster.runs import DagsterRun


class Unfinished(Protocol):
    """The rows in question: `headrace.service.upkeep.Upkeep`."""

    def unfinished(self) -> Sequence[Run]: ...

    def dagster_ended(self, run: Run, status: RunStatus, error_code: str, error: str) -> bool: ...

    def launch_again(self, run: Run, launches: int) -> None: ...


class Known(Protocol):
    """Who knows what Dagster thinks: the Dagster client."""

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]: ...


class Reconciler:
    """Compares all unfinished runs with Dagster in each round."""

    def __init__(self, upkeep: Unfinished, dagster: Known) -> None:
        self._upkeep = upkeep
        self._dagster = dagster

    def work(self) -> bool:
        """End the runs that have ended in Dagster; there is never more to do at once."""
        # First the rows, then Dagster: the other way round a run could end in between and look lost.
        unfinished = [run for run in self._upkeep.unfinished() if run.dagster_run_id]
        if not unfinished:
            return False
        known = {run.id: run for run in self._dagster.runs([run.dagster_run_id or "" for run in unfinished])}
        for run in unfinished:
            self._repair(run, known.get(run.dagster_run_id or ""))
        return False

    def _repair(self, run: Run, known: DagsterRun | None) -> None:
        if known is None:
            # A running worker ends by its own lease; one that has not begun finds nothing to begin with.
            if run.status is RunStatus.PENDING:
                self._fail(run, "run.deleted_in_dagster", "The run was deleted in Dagster before it began.")
        elif known.status is RunStatus.CANCELLED:
            self._upkeep.dagster_ended(run, RunStatus.CANCELLED, "", "")
        elif known.status.is_terminal and run.status is RunStatus.PENDING:
            self._start_again(run)
        elif known.status.is_terminal:
            self._fail(run, "run.worker_lost", "The run's worker ended without a result.")

    def _start_again(self, run: Run) -> None:
        """Have a run launched anew whose process ended before its claim, as when a code server goes down."""
        launches = len(self._dagster.find_by_run_tag(run.id, run.attempt))
        if launches < LAUNCHES:
            self._upkeep.launch_again(run, launches)
        else:
            self._fail(run, "run.not_started", "The run's process did not start; see the run in Dagster.")

    def _fail(self, run: Run, code: str, detail: str) -> None:
        self._upkeep.dagster_ended(run, RunStatus.FAILED, code, detail)
