"""Removes what deleted pipelines leave behind: Dagster's runs with their logs, outputs, rows.

The pipeline's tombstone is deleted last, so a purge that is killed at any line starts again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from headrace.failpoints import reach
from headrace.store.lifecycle.upkeep import DeletedPipeline
from headrace_api.control.loop import for_each, go_on
from headrace_api.control.outputs import remove_output
from headrace_api.dagster.client import RUNS_AT_ONCE
from headrace_api.dagster.runs import DagsterRun

_log = logging.getLogger(__name__)


class Tombstones(Protocol):
    """The pipelines to purge: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def to_purge(self) -> Sequence[DeletedPipeline]: ...

    def purged(self, pipeline_id: UUID) -> None: ...


class DagsterHistory(Protocol):
    """Dagster's runs and assets: the Dagster client."""

    def find_by_pipeline_tag(self, pipeline_id: UUID) -> list[DagsterRun]: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def terminate(self, run: DagsterRun) -> None: ...

    def delete_run(self, dagster_run_id: str) -> None: ...

    def wipe_assets(self, pipeline_id: UUID) -> None: ...


class Purger:
    """Purges each deleted pipeline as far as it can in each round; `outputs` has a folder for each run."""

    def __init__(self, upkeep: Tombstones, dagster: DagsterHistory, outputs: Path) -> None:
        self._upkeep = upkeep
        self._dagster = dagster
        self._outputs = outputs

    def work(self) -> bool:
        """Purge. Always return False: what is left has to wait for workers to stop."""
        for_each(self._upkeep.to_purge(), self._try)
        return False

    def _try(self, deleted: DeletedPipeline) -> None:
        try:
            self._purge(deleted)
        except OSError as error:
            _log.warning("Pipeline %s was not purged: %s", deleted.pipeline_id, error.strerror)

    def _purge(self, deleted: DeletedPipeline) -> None:
        pipeline_id = deleted.pipeline_id
        reach("purging", pipeline_id)
        if self._emptied_dagster(deleted):
            reach("history_purged", pipeline_id)
            for run_id in deleted.run_ids:
                remove_output(self._outputs, run_id)
            reach("outputs_purged", pipeline_id)
            self._upkeep.purged(pipeline_id)
            reach("purged", pipeline_id)

    def _emptied_dagster(self, deleted: DeletedPipeline) -> bool:
        """Stop and delete the pipeline's Dagster runs; return False while one of them has not ended."""
        while found := self._known(deleted):
            going = [run for run in found if not run.status.is_terminal]
            for run in going:
                self._dagster.terminate(run)
            if going:
                # Its worker may still write: deleting the run now would leave a log that belongs to no run.
                return False
            for run in found:
                go_on()
                self._dagster.delete_run(run.id)
        self._dagster.wipe_assets(deleted.pipeline_id)
        return True

    def _known(self, deleted: DeletedPipeline) -> list[DagsterRun]:
        """Return some of the pipeline's runs: by tag, or else by id, for runs that have lost their tag."""
        tagged = self._dagster.find_by_pipeline_tag(deleted.pipeline_id)
        return tagged or self._dagster.runs(deleted.dagster_run_ids[:RUNS_AT_ONCE])
