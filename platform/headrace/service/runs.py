"""Use cases of runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

from headrace.errors import Conflict, NotFound
from headrace.failpoints import reach
from headrace.records import Page, Principal, Run, RunStatus
from headrace.service.platform import Platform
from headrace.store.runs import RunDetails, RunStore


class RunNotFinished(Conflict):
    """The run has not ended, so it has no output yet."""

    code = "run.not_finished"
    title = "Run not finished"
    hint = "Wait until the run's status is success."


class NoOutput(NotFound):
    """The run failed or was cancelled before it had written an output file."""

    code = "run.no_output"
    title = "No output"


class OutputGone(NotFound):
    """The output file has been deleted."""

    code = "run.output_gone"
    title = "Output gone"
    hint = "Run the pipeline again to get a new file."


class Runs:
    """The runs that `principal` may see and change."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._settings = platform.settings
        self._store = RunStore(platform.database, principal.organization_id)

    def trigger(self, pipeline_id: UUID) -> Run:
        """Store a pending run; the dispatcher launches it.

        Raises PipelineNotFound, RunAlreadyActive, TableTaken.
        """
        run = self._store.create(pipeline_id)
        reach("triggered", pipeline_id)
        return run

    def list(
        self, page: Page, *, pipeline_id: UUID | None = None, status: RunStatus | None = None
    ) -> tuple[Sequence[Run], int]:
        """Return a page of runs, newest first, and how many there are. Raises PipelineNotFound."""
        return self._store.list(page, pipeline_id=pipeline_id, status=status)

    def pipeline_names(self, runs: Sequence[Run]) -> Mapping[UUID, str]:
        """Return the names of the runs' pipelines by id. Deleted pipelines are left out."""
        return self._store.pipeline_names({run.pipeline_id for run in runs})

    def get(self, run_id: UUID) -> Run:
        """Return the run. Raises RunNotFound."""
        return self._store.get(run_id)

    def details(self, run_id: UUID) -> RunDetails:
        """Return the run with its earlier attempts and its receipt. Raises RunNotFound."""
        return self._store.details(run_id)

    def cancel(self, run_id: UUID) -> Run:
        """Cancel the run. A cancelled run stays cancelled. Raises RunNotFound, RunAlreadyEnded."""
        run = self._store.cancel(run_id)
        reach("cancelled", run.pipeline_id)
        return run

    def output(self, run_id: UUID) -> Path:
        """Return the path of the run's output file.

        Raises RunNotFound, RunNotFinished, NoOutput, OutputGone.
        """
        run = self.get(run_id)
        if not run.status.is_terminal:
            raise RunNotFinished(f"The run is {run.status}.")
        if run.output_file is None:
            raise NoOutput(f"The run ended as {run.status} and has no output file.")
        path = self._settings.root / run.output_file
        if not path.is_file():
            raise OutputGone("The output file has been removed.")
        return path
