"""The webserver's and the daemon's connection to the code server, with the pipelines read from the store.

The code server still tells when something changed, and still runs everything.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from dagster._api import snapshot_repository
from dagster._core.remote_representation import code_location
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteExecutionPlan, RemoteJob, RemoteSchedule
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._core.snap import JobSnap
from dagster._grpc.types import CanCancelExecutionRequest

from headrace.naming import REPOSITORY
from headrace.records import JobCard
from headrace_dagster.pipeline_cache import ChangeLog, PipelineCache
from headrace_dagster.pipelines import owners_of
from headrace_dagster.private import catalog
from headrace_dagster.private.remote_repository import (
    LazyJob,
    RemotePipeline,
    StoredRepository,
    remote_schedule,
)
from headrace_dagster.private.snapshots import Snapshots
from headrace_dagster.repository import PipelineDefinitions

Define = Callable[[JobCard], PipelineDefinitions]
MakeEntry = Callable[[JobCard], catalog.Entry]
_PROBE_SECONDS = 4


class RemotePipelines:
    """All pipelines as this process knows them, kept up to date by the store's changes."""

    def __init__(self, changes: ChangeLog, define: Define, make_entry: MakeEntry | None = None) -> None:
        self._changes = changes
        self._define = define
        self._make_entry = make_entry
        self._handle: RepositoryHandle | None = None
        self._cache: PipelineCache[RemotePipeline]
        self.snapshots = Snapshots()

    def repository(self, handle: RepositoryHandle) -> StoredRepository:
        """Return the repository as it is stored now. Raises Unavailable."""
        if handle != self._handle:
            # Another code server: jobs made for the last one would name its interpreter.
            self._handle = handle
            self._cache = PipelineCache(lambda: self._changes, lambda card: self._pipeline(card, handle))
        return StoredRepository(self._cache.all(), handle)

    def _pipeline(self, card: JobCard, handle: RepositoryHandle) -> RemotePipeline:
        return RemotePipeline(
            job=LazyJob(card, handle, self._snapshot),
            make_schedule=lambda: self._schedule(card, handle),
            make_entry=lambda: self._make_entry(card) if self._make_entry else None,
        )

    def _schedule(self, card: JobCard, handle: RepositoryHandle) -> RemoteSchedule | None:
        schedule = self._define(card).schedule
        return remote_schedule(schedule, handle) if schedule else None

    def _snapshot(self, card: JobCard) -> JobSnap:
        return self.snapshots.job(self._define(card).job, owners_of(card))


class LiveLocation(GrpcServerCodeLocation):
    """The connection to the code server. Its repository comes from the store."""

    pipelines: ClassVar[RemotePipelines]
    newest: ClassVar["LiveLocation | None"] = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        LiveLocation.newest = self
        # Read after the server's id, so the pipelines are never older than that id.
        handle = RepositoryHandle.from_location(repository_name=REPOSITORY, code_location=self)
        self.remote_repositories = {REPOSITORY: self.pipelines.repository(handle)}

    def get_execution_plan(
        self,
        remote_job: RemoteJob,
        run_config: Mapping[str, Any],
        step_keys_to_execute: Sequence[str] | None,
        known_state: Any,
        instance: Any = None,
    ) -> RemoteExecutionPlan:
        """Return a run's plan; the code server is asked for the first one and for unusual ones."""

        def fetch() -> RemoteExecutionPlan:
            return super(LiveLocation, self).get_execution_plan(
                remote_job, run_config, step_keys_to_execute, known_state, instance
            )

        if isinstance(remote_job, LazyJob) and not (run_config or step_keys_to_execute or known_state):
            return self.pipelines.snapshots.plan(remote_job, fetch)
        return fetch()


def follow(changes: ChangeLog, define: Define, make_entry: MakeEntry | None = None) -> None:
    """Make this process, webserver or daemon, read the pipelines from the store.

    `define` is the code server's. `make_entry` makes a pipeline's entry in the catalog; the daemon has none.
    """
    LiveLocation.pipelines = RemotePipelines(changes, define, make_entry)
    code_location.GrpcServerCodeLocation = LiveLocation  # type: ignore[misc]  # Dagster looks it up there
    snapshot_repository.sync_get_external_repositories_data_grpc = _fetch_nothing


def launch_refusal() -> str:
    """Return why the code server takes no run now; empty if it does.

    The call that proves it needs a free thread of the code server, and the lock that every launch needs.
    """
    location = LiveLocation.newest
    if location is None:
        return "The code location is not loaded."
    try:
        location.client.can_cancel_execution(CanCancelExecutionRequest(run_id=""), timeout=_PROBE_SECONDS)
    except Exception as error:
        return f"The code server takes no run ({type(error).__name__})."
    return ""


def _fetch_nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}
