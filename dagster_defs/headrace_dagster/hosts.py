"""What Dagster's hosts, its webserver and its daemon, know of the pipelines: private parts, see `internals`.

Stock hosts fetch every job's snapshot from the code server at each change. These read from the store what
changed and keep the rest, so that a refresh costs the same at any number of pipelines; how a job looks in
full is made out when somebody looks. The code server still says when there is something new, and still runs
everything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from dagster import AssetKey, JobDefinition, ScheduleDefinition
from dagster._api import snapshot_repository
from dagster._core.execution.api import create_execution_plan
from dagster._core.remote_representation import code_location
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import (
    RemoteExecutionPlan,
    RemoteJob,
    RemoteRepository,
    RemoteSchedule,
)
from dagster._core.remote_representation.external_data import (
    AssetNodeSnap,
    JobDataSnap,
    JobRefSnap,
    RepositorySnap,
    ScheduleSnap,
)
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.snap import ExecutionPlanSnapshot, JobSnap
from dagster._core.snap.execution_plan_snapshot import snapshot_from_execution_plan
from dagster_shared.check.functions import CheckError
from dagster_shared.record import copy

from headrace.naming import REPOSITORY, job_name, pipeline_id_of
from headrace.records import JobCard
from headrace.schedule import slots
from headrace_dagster.catalogue import Changes, Followed
from headrace_dagster.pipelines import owners_of
from headrace_dagster.repository import Definitions

Define = Callable[[JobCard], Definitions]
Enter = Callable[[JobCard], AssetNodeSnap]


class Snapshots:
    """Makes snapshots of jobs and of their plans: all have one graph, so that they differ in words alone."""

    def __init__(self) -> None:
        self._job: JobSnap | None = None
        self._plan: ExecutionPlanSnapshot | None = None

    def job(self, definition: JobDefinition, owners: Sequence[str]) -> JobSnap:
        """Return what `get_job_snapshot` of the definition returns, at a hundredth of its cost."""
        if self._job is None:
            self._plan = snapshot_from_execution_plan(create_execution_plan(definition), "")
            self._job = definition.get_job_snapshot()
        return copy(
            self._job,
            name=definition.name,
            description=definition.description,
            tags=definition.tags,
            run_tags=definition.run_tags,
            metadata=definition.metadata,
            owners=owners,
        )

    def plan(self, job: RemoteJob) -> ExecutionPlanSnapshot:
        """Return the plan of a whole run of the job."""
        snapshot_id = job.identifying_job_snapshot_id
        assert self._plan is not None, "the job has been looked at"
        return self._plan._replace(job_snapshot_id=snapshot_id)


class SeenJob(RemoteJob):
    """A job whose snapshot is made when it is asked for."""

    def __init__(
        self, card: JobCard, handle: RepositoryHandle, snapshot: Callable[[JobCard], JobSnap]
    ) -> None:
        self.reference = JobRefSnap(
            name=job_name(card.pipeline_id),
            snapshot_id="",
            active_presets=[],
            parent_snapshot_id=None,
            owners=owners_of(card),
        )
        super().__init__(None, handle, self.reference, lambda _: _job_data(snapshot(card)))

    @property
    def _snapshot_id(self) -> str:
        return self._job_index.job_snapshot_id


def _job_data(snapshot: JobSnap) -> JobDataSnap:
    return JobDataSnap(name=snapshot.name, job=snapshot, active_presets=[], parent_job=None)


class SeenSchedule(RemoteSchedule):
    """A schedule whose slots can be worked out on any day."""

    def execution_time_iterator(self, start_timestamp: float, ascending: bool = True) -> Iterator[datetime]:
        """Yield the slots from the time on, or back from it, as Dagster does.

        In March of a leap year Dagster raises for a schedule of the 29th or later days, as it steps back over
        a February of 28 days; one stored on such a day would never fire, in later months neither.
        """
        found = super().execution_time_iterator(start_timestamp, ascending)
        try:
            first = next(found)
        except CheckError:
            # Going back it never raises, so that these, which go forward, are what was asked for.
            zone = ZoneInfo(self.execution_timezone or "UTC")
            after = datetime.fromtimestamp(start_timestamp, UTC) - timedelta(microseconds=1)
            return (slot.astimezone(zone) for slot in slots(str(self.cron_schedule), zone.key, after))
        return chain([first], found)


@dataclass
class Seen:
    """What a host keeps of a pipeline."""

    job: SeenJob
    plan: Callable[[], RemoteSchedule | None]
    enter: Callable[[], AssetNodeSnap | None]

    @cached_property
    def schedule(self) -> RemoteSchedule | None:
        """The pipeline's schedule, made when somebody looks: no launch waits for that."""
        return self.plan()

    @cached_property
    def entry(self) -> AssetNodeSnap | None:
        """The pipeline's entry in the catalog, made when somebody looks."""
        return self.enter()


class SeenRepository(RemoteRepository):
    """The pipelines as they were stored at one moment."""

    def __init__(self, seen: Mapping[UUID, Seen], handle: RepositoryHandle) -> None:
        empty = RepositorySnap(name=REPOSITORY, schedules=[], partition_sets=[], job_datas=[])
        super().__init__(empty, handle, auto_materialize_use_sensors=False)
        self._seen = seen

    @cached_property
    def _schedules(self) -> dict[str, RemoteSchedule]:
        schedules = (seen.schedule for seen in self._seen.values())
        return {schedule.name: schedule for schedule in schedules if schedule is not None}

    def has_job(self, job_name: str) -> bool:
        """Whether there is such a job."""
        return self._find(job_name) is not None

    def get_full_job(self, job_name: str) -> SeenJob:
        """Return a job that there is."""
        job = self._find(job_name)
        assert job is not None, f"there is no job {job_name}"
        return job

    def get_all_jobs(self) -> Sequence[RemoteJob]:
        """Return all jobs."""
        return [seen.job for seen in self._seen.values()]

    def get_job_map_entry(self, job_name: str) -> JobRefSnap:
        """Return what is known of a job before anybody has looked at it: the UI's lists ask for it."""
        return self.get_full_job(job_name).reference

    def get_asset_node_snaps(self, job_name: str | None = None) -> Sequence[AssetNodeSnap]:
        """Return the catalog's entries; of one job there are none, as no job is made of assets."""
        return list(self._asset_snaps_by_key.values()) if job_name is None else []

    @cached_property
    def _asset_snaps_by_key(self) -> dict[AssetKey, AssetNodeSnap]:
        return {seen.entry.asset_key: seen.entry for seen in self._seen.values() if seen.entry}

    def _find(self, name: str) -> SeenJob | None:
        pipeline_id = pipeline_id_of(name)
        seen = self._seen.get(pipeline_id) if pipeline_id else None
        return seen.job if seen and seen.job.name == name else None


class View:
    """The pipelines as a host sees them, over the store's changes."""

    def __init__(self, changes: Changes, define: Define, enter: Enter | None = None) -> None:
        self._changes = changes
        self._define = define
        self._enter = enter
        self._snapshots = Snapshots()
        self._handle: RepositoryHandle | None = None
        self._followed: Followed[Seen]

    def repository(self, handle: RepositoryHandle) -> SeenRepository:
        """Return the repository as it is stored now. Raises Unavailable."""
        if handle != self._handle:
            # Another code server: what was seen through the last one names that one's interpreter.
            self._handle = handle
            self._followed = Followed(lambda: self._changes, lambda card: self._see(card, handle))
        return SeenRepository(self._followed.all(), handle)

    def plan(self, job: RemoteJob) -> RemoteExecutionPlan:
        """Return the plan of a whole run of the job."""
        return RemoteExecutionPlan(self._snapshots.plan(job))

    def _see(self, card: JobCard, handle: RepositoryHandle) -> Seen:
        return Seen(
            job=SeenJob(card, handle, self._snapshot),
            plan=lambda: self._schedule(card, handle),
            enter=lambda: self._enter(card) if self._enter else None,
        )

    def _schedule(self, card: JobCard, handle: RepositoryHandle) -> RemoteSchedule | None:
        schedule = self._define(card).schedule
        return SeenSchedule(_schedule_snapshot(schedule), handle) if schedule else None

    def _snapshot(self, card: JobCard) -> JobSnap:
        return self._snapshots.job(self._define(card).job, owners_of(card))


def _schedule_snapshot(schedule: ScheduleDefinition) -> ScheduleSnap:
    # The repository is asked for the assets of a schedule without a job only, and all of ours have one.
    return ScheduleSnap.from_def(schedule, None)  # type: ignore[arg-type]  # never looked at


class LiveLocation(GrpcServerCodeLocation):
    """The connection to the code server, whose pipelines are read from the store."""

    view: ClassVar[View]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # After the server's id was asked for: what is read is what that id stands for, or newer.
        handle = RepositoryHandle.from_location(repository_name=REPOSITORY, code_location=self)
        self.remote_repositories = {REPOSITORY: self.view.repository(handle)}

    def get_execution_plan(
        self,
        remote_job: RemoteJob,
        run_config: Mapping[str, Any],
        step_keys_to_execute: Sequence[str] | None,
        known_state: Any,
        instance: Any = None,
    ) -> RemoteExecutionPlan:
        """Return a run's plan; only one that is out of the ordinary is asked for."""
        if isinstance(remote_job, SeenJob) and not (run_config or step_keys_to_execute or known_state):
            return self.view.plan(remote_job)
        return super().get_execution_plan(remote_job, run_config, step_keys_to_execute, known_state, instance)


def follow(changes: Changes, define: Define, enter: Enter | None = None) -> None:
    """Have this process, a host, read the pipelines from the store; `define` as the code server has it.

    `enter` makes a pipeline's entry in the catalog; a host whose catalog nobody sees has none.
    """
    LiveLocation.view = View(changes, define, enter)
    code_location.GrpcServerCodeLocation = LiveLocation  # type: ignore[misc]  # in its place
    snapshot_repository.sync_get_external_repositories_data_grpc = _nothing


def _nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}
