"""The repository that Dagster sees: always the pipelines that are stored now.

Dagster asks it for each snapshot, tick and run, so nothing is reloaded or restarted. A job is built once for
each change of its pipeline, and a look-up costs the same at any number of pipelines.
"""

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol
from uuid import UUID

from dagster import (
    DagsterInvariantViolationError,
    JobDefinition,
    RepositoryData,
    ResourceDefinition,
    ScheduleDefinition,
)

from headrace.naming import pipeline_id_of
from headrace.records import JobCard
from headrace_dagster.pipeline_cache import ChangeLog, PipelineCache


class StoredJobs(ChangeLog, Protocol):
    """The stored pipelines: `headrace.service.jobs.Jobs`."""

    def stamp(self) -> Hashable:
        """Return a value that changes whenever a card does. Cheap."""

    def get(self, pipeline_id: UUID) -> JobCard | None:
        """Return a pipeline's card; None if there is no such pipeline."""

    def take_slot(self, pipeline_id: UUID, slot: datetime) -> str:
        """Take a schedule's slot, and return a sentence on what happened to it."""


@dataclass(frozen=True, kw_only=True)
class PipelineDefinitions:
    """A pipeline's job and schedule, each built at first use."""

    build_job: Callable[[], JobDefinition]
    build_schedule: Callable[[], ScheduleDefinition | None]

    @cached_property
    def job(self) -> JobDefinition:
        """The pipeline's job."""
        return self.build_job()

    @cached_property
    def schedule(self) -> ScheduleDefinition | None:
        """The pipeline's schedule; None if it has none."""
        return self.build_schedule()


class LiveRepository(RepositoryData):
    """One job, and one schedule where the pipeline has one, for each stored pipeline.

    Safe to use from many threads. `jobs` is called for each use, so the server may start before the database.
    Errors of the store are passed on.
    """

    def __init__(
        self, jobs: Callable[[], StoredJobs], build: Callable[[JobCard], PipelineDefinitions]
    ) -> None:
        self._jobs = jobs
        self._build = build
        self._lock = threading.Lock()
        self._kept: dict[UUID, tuple[JobCard, PipelineDefinitions]] = {}
        self._cache = PipelineCache(jobs, self._definitions)

    def stamp(self) -> Hashable:
        """Return a value that changes whenever the repository does."""
        return self._jobs().stamp()

    def get_all_jobs(self) -> Sequence[JobDefinition]:
        """Return the jobs of all pipelines, building only those that changed."""
        return [definitions.job for definitions in self._all()]

    def get_job_names(self) -> Sequence[str]:
        """Return the names of all jobs."""
        return [job.name for job in self.get_all_jobs()]

    def has_job(self, job_name: str) -> bool:
        """Return True if there is such a job."""
        return self._find_job(job_name) is not None

    def get_job(self, job_name: str) -> JobDefinition:
        """Return a job as its pipeline is stored now."""
        job = self._find_job(job_name)
        if job is None:
            raise DagsterInvariantViolationError(f"No pipeline has the job {job_name}.")
        return job

    def get_all_schedules(self) -> Sequence[ScheduleDefinition]:
        """Return the schedules of all pipelines that have one."""
        return [definitions.schedule for definitions in self._all() if definitions.schedule is not None]

    def get_schedule_names(self) -> Sequence[str]:
        """Return the names of all schedules."""
        return [schedule.name for schedule in self.get_all_schedules()]

    def has_schedule(self, schedule_name: str) -> bool:
        """Return True if there is such a schedule."""
        return self._find_schedule(schedule_name) is not None

    def get_schedule(self, schedule_name: str) -> ScheduleDefinition:
        """Return a schedule as its pipeline is stored now."""
        schedule = self._find_schedule(schedule_name)
        if schedule is None:
            raise DagsterInvariantViolationError(f"No pipeline has the schedule {schedule_name}.")
        return schedule

    def has_sensor(self, sensor_name: str) -> bool:
        """Return False: there are no sensors."""
        return False

    def get_top_level_resources(self) -> Mapping[str, ResourceDefinition]:
        """Return nothing: jobs use no resources of Dagster."""
        return {}

    def get_env_vars_by_top_level_resource(self) -> Mapping[str, AbstractSet[str]]:
        """Return nothing: Dagster learns of no environment variable."""
        return {}

    def load_all_definitions(self) -> None:
        """Do nothing: jobs are built when asked for."""

    def _find_job(self, name: str) -> JobDefinition | None:
        definitions = self._find(name)
        return definitions.job if definitions and definitions.job.name == name else None

    def _find_schedule(self, name: str) -> ScheduleDefinition | None:
        schedule = definitions.schedule if (definitions := self._find(name)) else None
        return schedule if schedule and schedule.name == name else None

    def _find(self, name: str) -> PipelineDefinitions | None:
        pipeline_id = pipeline_id_of(name)
        card = self._jobs().get(pipeline_id) if pipeline_id else None
        if card is None:
            return None
        return self._definitions(card)

    def _all(self) -> Sequence[PipelineDefinitions]:
        return list(self._cache.all().values())

    def _definitions(self, card: JobCard) -> PipelineDefinitions:
        with self._lock:
            known = self._kept.get(card.pipeline_id)
            # Compare the whole card: renaming a domain does not change the revision of its pipelines.
            if known is None or known[0] != card:
                known = self._kept[card.pipeline_id] = card, self._build(card)
            return known[1]
