"""The pipelines as Dagster's webserver and daemon know them: remote jobs and schedules, made from the store.

Dagster would fetch a snapshot of every job from the code server at each change. Here a refresh reads what
changed from the store, at the same cost for any number of pipelines, and a job's snapshot is made when
somebody looks at the job.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain
from uuid import UUID
from zoneinfo import ZoneInfo

from dagster import AssetKey, ScheduleDefinition
from dagster._core.remote_representation.external import RemoteJob, RemoteRepository, RemoteSchedule
from dagster._core.remote_representation.external_data import (
    AssetNodeSnap,
    JobDataSnap,
    JobRefSnap,
    RepositorySnap,
    ScheduleSnap,
)
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.snap import JobSnap

from headrace.naming import REPOSITORY, job_name, pipeline_id_of
from headrace.records import JobCard
from headrace.schedule import slots
from headrace_dagster.pipelines import owners_of


class LazyJob(RemoteJob):
    """A job whose snapshot is made when Dagster asks for it."""

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


class LeapYearSchedule(RemoteSchedule):
    """A schedule whose slots can be computed on any day of a leap year."""

    def execution_time_iterator(self, start_timestamp: float, ascending: bool = True) -> Iterator[datetime]:
        """Yield the slots from the time on, or back from it, as Dagster does.

        In March of a leap year, Dagster raises for a schedule of the 29th or a later day, because it steps
        back over a February of 28 days. A schedule stored on such a day would never fire again.
        """
        found = super().execution_time_iterator(start_timestamp, ascending)
        try:
            first = next(found)
        except Exception:  # Dagster's CheckError, which is no public name
            # Dagster never raises when it goes back, so these slots, which go forward, are the ones wanted.
            zone = ZoneInfo(self.execution_timezone or "UTC")
            after = datetime.fromtimestamp(start_timestamp, UTC) - timedelta(microseconds=1)
            return (slot.astimezone(zone) for slot in slots(str(self.cron_schedule), zone.key, after))
        return chain([first], found)


def remote_schedule(definition: ScheduleDefinition, handle: RepositoryHandle) -> RemoteSchedule:
    """Return a schedule as the webserver and the daemon know it."""
    # Dagster asks the repository for the assets of a schedule without a job only, and all of ours have one.
    snapshot = ScheduleSnap.from_def(definition, None)  # type: ignore[arg-type]  # never looked at
    return LeapYearSchedule(snapshot, handle)


@dataclass
class RemotePipeline:
    """What the webserver or the daemon keeps of a pipeline. The parts are made when somebody looks."""

    job: LazyJob
    make_schedule: Callable[[], RemoteSchedule | None]
    make_entry: Callable[[], AssetNodeSnap | None]

    @cached_property
    def schedule(self) -> RemoteSchedule | None:
        """The pipeline's schedule; None where it has none."""
        return self.make_schedule()

    @cached_property
    def entry(self) -> AssetNodeSnap | None:
        """The pipeline's entry in the catalog; None in a process without a catalog."""
        return self.make_entry()


class StoredRepository(RemoteRepository):
    """The pipelines as they were stored at one moment."""

    def __init__(self, pipelines: Mapping[UUID, RemotePipeline], handle: RepositoryHandle) -> None:
        empty = RepositorySnap(name=REPOSITORY, schedules=[], partition_sets=[], job_datas=[])
        super().__init__(empty, handle, auto_materialize_use_sensors=False)
        self._pipelines = pipelines

    @cached_property
    def _schedules(self) -> dict[str, RemoteSchedule]:
        schedules = (pipeline.schedule for pipeline in self._pipelines.values())
        return {schedule.name: schedule for schedule in schedules if schedule is not None}

    def has_job(self, job_name: str) -> bool:
        """Return True if there is such a job."""
        return self._find(job_name) is not None

    def get_full_job(self, job_name: str) -> LazyJob:
        """Return a job that exists."""
        job = self._find(job_name)
        assert job is not None, f"there is no job {job_name}"
        return job

    def get_all_jobs(self) -> Sequence[RemoteJob]:
        """Return all jobs."""
        return [pipeline.job for pipeline in self._pipelines.values()]

    def get_job_map_entry(self, job_name: str) -> JobRefSnap:
        """Return what the UI's lists show of a job; it needs no snapshot."""
        return self.get_full_job(job_name).reference

    def get_asset_node_snaps(self, job_name: str | None = None) -> Sequence[AssetNodeSnap]:
        """Return the catalog's entries; for one job there are none, because no job consists of assets."""
        return list(self._asset_snaps_by_key.values()) if job_name is None else []

    @cached_property
    def _asset_snaps_by_key(self) -> dict[AssetKey, AssetNodeSnap]:
        entries = (pipeline.entry for pipeline in self._pipelines.values())
        return {entry.asset_key: entry for entry in entries if entry is not None}

    def _find(self, name: str) -> LazyJob | None:
        pipeline_id = pipeline_id_of(name)
        pipeline = self._pipelines.get(pipeline_id) if pipeline_id else None
        return pipeline.job if pipeline and pipeline.job.name == name else None
