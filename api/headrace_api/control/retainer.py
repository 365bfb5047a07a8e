"""Removes the runs that have outlived their time, so that the size of all that is kept levels off.

A run goes as a deleted pipeline's do: Dagster's runs with their logs, its output, and its row last. So a kill
at any line leaves a run that is found again, and two processes may remove the same one.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from headrace.store.retention import ExpiredRun
from headrace_api.control.outputs import remove_output
from headrace_api.dagster.runs import DagsterRun

_log = logging.getLogger(__name__)

RUNS_A_ROUND = 50


class Expired(Protocol):
    """What is to go: `headrace.service.upkeep.Retention`."""

    def expired(self, limit: int) -> Sequence[ExpiredRun]: ...

    def forget(self, run_ids: Sequence[UUID]) -> None: ...


class Remover(Protocol):
    """Who removes: the Dagster client."""

    def find_by_run_tag(self, run_id: UUID) -> list[DagsterRun]: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def terminate(self, run: DagsterRun) -> None: ...

    def delete_run(self, dagster_run_id: str) -> None: ...


class Retainer:
    """Removes a batch of runs a round; `outputs` has a folder for each run."""

    def __init__(self, retention: Expired, dagster: Remover, outputs: Path) -> None:
        self._retention = retention
        self._dagster = dagster
        self._outputs = outputs

    def work(self) -> bool:
        """Remove; returns whether there may be more, which what cannot be removed is not."""
        expired = self._retention.expired(RUNS_A_ROUND)
        if not expired:
            return False
        known = {run.id: run for run in self._known(expired)}
        gone = [run.run_id for run in expired if self._is_removed(run, known)]
        self._retention.forget(gone)
        return len(gone) == RUNS_A_ROUND

    def _known(self, expired: Iterable[ExpiredRun]) -> list[DagsterRun]:
        return self._dagster.runs([id_ for run in expired for id_ in run.dagster_run_ids])

    def _is_removed(self, expired: ExpiredRun, known: dict[str, DagsterRun]) -> bool:
        # By tag as well, which a launch that was never noted carries too.
        tagged = {run.id: run for run in self._dagster.find_by_run_tag(expired.run_id)}
        found = tagged | {id_: known[id_] for id_ in expired.dagster_run_ids if id_ in known}
        going = [run for run in found.values() if not run.status.is_terminal]
        for run in going:
            self._dagster.terminate(run)
        if going:
            return False
        for id_ in found:
            self._dagster.delete_run(id_)
        try:
            remove_output(self._outputs, expired.run_id)
        except OSError as error:
            # The trouble of one run's files: the others need not wait for it.
            _log.warning("Run %s was not removed: %s", expired.run_id, error.strerror)
            return False
        return True
