"""Deletes expired runs, so that the size of everything that is kept levels off.

A run is deleted like those of a deleted pipeline: first Dagster's runs with their logs, then its output, then
its row. A kill at any line therefore leaves a run that the next round finds again, and two processes may
delete the same run at once.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from headrace.failpoints import reach
from headrace.store.lifecycle.retention import ExpiredRun
from headrace_api.control.loop import for_each
from headrace_api.control.outputs import remove_output
from headrace_api.dagster.runs import DagsterRun

_log = logging.getLogger(__name__)

RUNS_A_ROUND = 50


class Expired(Protocol):
    """The expired runs: `headrace.store.lifecycle.retention.RetentionStore`."""

    def expired(self, limit: int) -> Sequence[ExpiredRun]: ...

    def forget(self, run_ids: Sequence[UUID]) -> None: ...


class DagsterRuns(Protocol):
    """Dagster's runs: the Dagster client."""

    def find_by_run_tag(self, run_id: UUID) -> list[DagsterRun]: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def terminate(self, run: DagsterRun) -> None: ...

    def delete_run(self, dagster_run_id: str) -> None: ...


class RunRemover:
    """Deletes one batch of runs in each round; `outputs` has a folder for each run."""

    def __init__(self, retention: Expired, dagster: DagsterRuns, outputs: Path) -> None:
        self._retention = retention
        self._dagster = dagster
        self._outputs = outputs

    def work(self) -> bool:
        """Delete a batch; return True if the whole batch was deleted, so there may be more.

        A run that cannot be deleted yet does not count: it waits for the next interval.
        """
        expired = self._retention.expired(RUNS_A_ROUND)
        if not expired:
            return False
        known = {run.id: run for run in self._known(expired)}
        gone: list[UUID] = []

        def remove(run: ExpiredRun) -> None:
            if self._is_removed(run, known):
                gone.append(run.run_id)

        try:
            for_each(expired, remove)
        finally:
            self._retention.forget(gone)
        for_each(gone, lambda run_id: reach("forgotten", run_id))
        return len(gone) == RUNS_A_ROUND

    def _known(self, expired: Iterable[ExpiredRun]) -> list[DagsterRun]:
        return self._dagster.runs([id_ for run in expired for id_ in run.dagster_run_ids])

    def _is_removed(self, expired: ExpiredRun, known: dict[str, DagsterRun]) -> bool:
        reach("removing", expired.run_id)
        found = self._in_dagster(expired, known)
        going = [run for run in found.values() if not run.status.is_terminal]
        for run in going:
            self._dagster.terminate(run)
        if going:
            return False
        for id_ in found:
            self._dagster.delete_run(id_)
        reach("history_removed", expired.run_id)
        return self._output_is_removed(expired.run_id)

    def _in_dagster(self, expired: ExpiredRun, known: dict[str, DagsterRun]) -> dict[str, DagsterRun]:
        # Also by tag: a launch whose id was never recorded has one.
        tagged = {run.id: run for run in self._dagster.find_by_run_tag(expired.run_id)}
        return tagged | {id_: known[id_] for id_ in expired.dagster_run_ids if id_ in known}

    def _output_is_removed(self, run_id: UUID) -> bool:
        try:
            remove_output(self._outputs, run_id)
        except OSError as error:
            # A problem with one run's files must not hold up the other runs.
            _log.warning("Run %s was not deleted: %s", run_id, error.strerror)
            return False
        reach("output_removed", run_id)
        return True
