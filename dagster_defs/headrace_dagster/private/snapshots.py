"""Snapshots of jobs and their execution plans: the form in which the webserver and the daemon know a job."""

from collections.abc import Callable, Sequence

from dagster import JobDefinition
from dagster._core.remote_representation.external import RemoteExecutionPlan, RemoteJob
from dagster._core.snap import JobSnap
from dagster_shared.record import copy


class Snapshots:
    """Makes snapshots by copying the first one, because all jobs share one graph."""

    def __init__(self) -> None:
        self._job: JobSnap | None = None
        self._plan: RemoteExecutionPlan | None = None

    def job(self, definition: JobDefinition, owners: Sequence[str]) -> JobSnap:
        """Return what the definition's `get_job_snapshot` returns, at a hundredth of its cost."""
        if self._job is None:
            self._job = definition.get_job_snapshot()
        return copy(
            self._job,
            name=definition.name,
            description=definition.description,
            tags=definition.tags,
            run_tags=definition.run_tags,
            metadata=definition.metadata,
            owners=owners or None,
        )

    def plan(self, job: RemoteJob, fetch: Callable[[], RemoteExecutionPlan]) -> RemoteExecutionPlan:
        """Return the plan of a whole run of the job; `fetch` asks the code server for the first one."""
        if self._plan is None:
            self._plan = fetch()
        steps = self._plan.execution_plan_snapshot
        return RemoteExecutionPlan(steps._replace(job_snapshot_id=job.identifying_job_snapshot_id))
