"""Repairs the rows of runs that are active here but have ended in Dagster.

A worker writes its result before Dagster records the end. So a run that has ended in Dagster and is still
active here has lost its worker, or never had one. If Dagster does not notice that a worker died, the reaper
does, by the worker's lease; before there is a lease, this loop does, by the age of Dagster's last change.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from headrace.failpoints import reach
from headrace.records import Run, RunStatus
from headrace_api.control.launches import are_enough, is_lost
from headrace_api.control.loop import for_each
from headrace_api.dagster.runs import DagsterRun


class Unfinished(Protocol):
    """The active runs: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def unfinished(self) -> Sequence[Run]: ...

    def dagster_ended(self, run: Run, status: RunStatus, error_code: str, error: str) -> bool: ...

    def launch_again(self, run: Run, launches: int) -> None: ...


class Known(Protocol):
    """Dagster's view of the runs: the Dagster client."""

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]: ...


class Reconciler:
    """Compares all active runs with Dagster in each round."""

    def __init__(self, upkeep: Unfinished, dagster: Known) -> None:
        self._upkeep = upkeep
        self._dagster = dagster

    def work(self) -> bool:
        """End the runs that have ended in Dagster. Always return False: one round compares all of them."""
        # The rows before Dagster: in the other order a run could end in between and look lost.
        unfinished = [run for run in self._upkeep.unfinished() if run.dagster_run_id]
        if not unfinished:
            return False
        known = {run.id: run for run in self._dagster.runs([run.dagster_run_id or "" for run in unfinished])}
        for_each(unfinished, lambda run: self._repair(run, known.get(run.dagster_run_id or "")))
        return False

    def _repair(self, run: Run, known: DagsterRun | None) -> None:
        if known is None:
            # A running worker is left to its lease. A pending run has no process left that could start it.
            if run.status is RunStatus.PENDING:
                self._fail(run, "run.deleted_in_dagster", "The run was deleted in Dagster before it began.")
        elif known.status is RunStatus.CANCELLED:
            self._upkeep.dagster_ended(run, RunStatus.CANCELLED, "", "")
            reach("reconciled", run.pipeline_id)
        elif run.status is RunStatus.PENDING and (known.status.is_terminal or is_lost(known)):
            self._start_again(run)
        elif known.status.is_terminal:
            self._fail(run, "run.worker_lost", "The run's worker ended without a result.")

    def _start_again(self, run: Run) -> None:
        """Relaunch a run whose process ended before its claim, for example because a code server stopped."""
        launches = self._dagster.find_by_run_tag(run.id, run.attempt)
        if not are_enough(launches):
            reach("relaunching", run.pipeline_id)
            self._upkeep.launch_again(run, len(launches))
            reach("relaunched", run.pipeline_id)
        else:
            self._fail(run, "run.not_started", "The run's process did not start; see the run in Dagster.")

    def _fail(self, run: Run, code: str, detail: str) -> None:
        self._upkeep.dagster_ended(run, RunStatus.FAILED, code, detail)
        reach("reconciled", run.pipeline_id)
