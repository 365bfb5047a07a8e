"""A Dagster that lives in memory and fails on demand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from headrace.records import RunStatus
from headrace.store.lifecycle.upkeep import Launch
from headrace_api.dagster.client import DagsterRunNotFound, JobNotFound
from headrace_api.dagster.graphql import DagsterFailed, DagsterUnavailable
from headrace_api.dagster.log import LogLine, LogPage
from headrace_api.dagster.runs import DagsterRun, TaggedRun

PAGE_LINES = 3


@dataclass
class FakeDagster:
    """Answers as the client does. `jobs` None: every pipeline has a job."""

    jobs: set[UUID] | None = None
    jobs_after_reload: set[UUID] = field(default_factory=set)
    is_down: bool = False
    forgets_to_answer: bool = False  # does what is asked, then fails
    takes_runs: bool = True  # False: a launch leaves a failed run that never began
    stops_at_once: bool = True
    reloads: int = 0
    calls: list[str] = field(default_factory=list)
    known: dict[str, DagsterRun] = field(default_factory=dict)
    run_ids: dict[str, UUID | None] = field(default_factory=dict)
    pipelines: dict[str, UUID] = field(default_factory=dict)
    wiped: list[UUID] = field(default_factory=list)
    lines: dict[str, list[LogLine]] = field(default_factory=dict)
    on_reload: Callable[[], None] = lambda: None
    attempts: dict[str, int] = field(default_factory=dict)

    def add(
        self, run_id: UUID | None, status: RunStatus = RunStatus.RUNNING, *, pipeline_id: UUID | None = None
    ) -> str:
        """Have Dagster know a run of its own making; returns its id."""
        dagster_run_id = str(uuid4())
        self.known[dagster_run_id] = DagsterRun(
            id=dagster_run_id,
            dagster_status=status.name,
            status=status,
            updated_at=datetime.now(UTC),
            began=True,
        )
        self.run_ids[dagster_run_id] = run_id
        if pipeline_id is not None:
            self.pipelines[dagster_run_id] = pipeline_id
        return dagster_run_id

    def end(self, dagster_run_id: str, status: RunStatus) -> None:
        """End a run."""
        self.known[dagster_run_id] = replace(self.known[dagster_run_id], status=status)

    def launch(self, pipeline_id: UUID, run_id: UUID, attempt: int = 1, *, is_scheduled: bool = False) -> str:
        self._called("launch")
        if self.jobs is not None and pipeline_id not in self.jobs:
            raise JobNotFound("There is no such job.")
        dagster_run_id = self.add(run_id, pipeline_id=pipeline_id)
        self.attempts[dagster_run_id] = attempt
        if self.forgets_to_answer:
            raise DagsterUnavailable("It took too long.")
        if not self.takes_runs:
            self.known[dagster_run_id] = replace(self.known[dagster_run_id], began=False)
            self.end(dagster_run_id, RunStatus.FAILED)
            raise DagsterFailed("The code server is away.")
        return dagster_run_id

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]:
        self._called("find_by_run_tag")
        return [
            run
            for run in reversed(self.known.values())
            if self.run_ids[run.id] == run_id and attempt in (None, self.attempts.get(run.id, 1))
        ]

    def find_by_pipeline_tag(self, pipeline_id: UUID) -> list[DagsterRun]:
        self._called("find_by_pipeline_tag")
        return [run for run in self.known.values() if self.pipelines.get(run.id) == pipeline_id]

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]:
        self._called("runs")
        return [self.known[key] for key in dagster_run_ids if key in self.known]

    def created(self, after: float, before: float) -> Iterator[list[TaggedRun]]:
        self._called("created")
        yield [
            TaggedRun(run=run, launch=self._launch(run.id))
            for run in self.known.values()
            if after <= run.updated_at.timestamp() < before
        ]

    def _launch(self, dagster_run_id: str) -> Launch | None:
        pipeline_id = self.pipelines.get(dagster_run_id)
        run_id = self.run_ids[dagster_run_id]
        if pipeline_id is None:
            return None
        return Launch(dagster_run_id=dagster_run_id, pipeline_id=pipeline_id, run_id=run_id)

    def terminate(self, run: DagsterRun) -> None:
        self._called("terminate")
        if self.stops_at_once:
            self.end(run.id, RunStatus.CANCELLED)

    def delete_run(self, dagster_run_id: str) -> None:
        self._called("delete_run")
        self.known.pop(dagster_run_id, None)

    def wipe_assets(self, pipeline_id: UUID) -> None:
        self._called("wipe_assets")
        self.wiped.append(pipeline_id)

    def reload(self) -> None:
        self._called("reload")
        self.reloads += 1
        self.on_reload()
        if self.jobs is not None:
            self.jobs |= self.jobs_after_reload

    def require_launchable(self) -> None:
        self._called("require_launchable")
        if not self.takes_runs:
            raise DagsterUnavailable("The code server is away.")

    def age(self, dagster_run_id: str, seconds: float) -> None:
        """Let a run have been silent for so long."""
        known = self.known[dagster_run_id]
        self.known[dagster_run_id] = replace(known, updated_at=known.updated_at - timedelta(seconds=seconds))

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage:
        self._called("logs")
        if dagster_run_id not in self.known:
            raise DagsterRunNotFound("There is no such run.")
        lines = self.lines.get(dagster_run_id, [])
        start = int(cursor or 0)
        page = lines[start : start + PAGE_LINES]
        return LogPage(
            lines=tuple(page),
            cursor=str(start + len(page)),
            more=start + len(page) < len(lines),
            ended=self.known[dagster_run_id].status.is_terminal,
        )

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_down:
            raise DagsterUnavailable("Dagster cannot be reached.")
