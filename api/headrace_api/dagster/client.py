"""Everything that the platform asks of Dagster.

Every method sends one or two requests, may be called from any thread and returns within a bounded time. None
of them retries: the control loops decide what is tried again. All of them raise DagsterUnavailable and
DagsterFailed, except `health`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from headrace.errors import HeadraceError, NotFound, Unavailable
from headrace.naming import (
    ATTEMPT_TAG,
    LAUNCHABLE_PATH,
    LOCATION,
    PIPELINE_ID_TAG,
    REPOSITORY,
    RUN_ID_TAG,
    asset_prefix,
    job_name,
    schedule_name,
)
from headrace_api.dagster import health
from headrace_api.dagster.graphql import DagsterFailed, DagsterUnavailable, GraphQL, expect
from headrace_api.dagster.health import DagsterStatus
from headrace_api.dagster.log import LogPage, log_page
from headrace_api.dagster.runs import DagsterRun, TaggedRun, run_of, status_of, tagged_run_of

LAUNCH_SECONDS = 20.0
"""Longer than for other requests, because a launch may wait for a process to start. Shorter than the
dispatcher's lease on the run."""
STUCK_SECONDS = 60.0
"""After this long in one status, a run is marked as cancelled without waiting for its worker."""
PAGE_LINES = 1000
RUNS_AT_ONCE = 100
_SCHEDULE_TAG = "dagster/schedule_name"


class JobNotFound(Unavailable):
    """Dagster does not know the pipeline's job yet: its code location may be loading, or down."""

    code = "dagster.job_not_found"
    title = "Dagster does not know the pipeline yet"


class DagsterRunNotFound(NotFound):
    """Dagster has no such run: it was deleted there."""

    code = "dagster.run_not_found"
    title = "Dagster run not found"


class DagsterClient:
    """A client of the webserver at `address`, such as `http://127.0.0.1:3000`; `token` as in `GraphQL`."""

    def __init__(self, address: str, token: Callable[[], str] | None = None) -> None:
        self._graphql = GraphQL(address, token)

    def close(self) -> None:
        """Close the connections. Requests in flight fail."""
        self._graphql.close()

    def launch(self, pipeline_id: UUID, run_id: UUID, attempt: int = 1, *, is_scheduled: bool = False) -> str:
        """Launch the pipeline's job for an attempt of the run; return the id of Dagster's run.

        With `is_scheduled`, Dagster lists the run among those of the pipeline's schedule.

        Not idempotent: after DagsterUnavailable, call `find_by_run_tag` first. Raises JobNotFound.
        """
        answer = self._graphql.answer(
            "launch_run",
            seconds=LAUNCH_SECONDS,
            selector={
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
                "jobName": job_name(pipeline_id),
            },
            tags=[
                _tag(RUN_ID_TAG, run_id),
                _tag(ATTEMPT_TAG, attempt),
                _tag(PIPELINE_ID_TAG, pipeline_id),
                *([_tag(_SCHEDULE_TAG, schedule_name(pipeline_id))] if is_scheduled else []),
            ],
        )
        if answer["__typename"] == "PipelineNotFoundError":
            raise JobNotFound(f"Dagster has no job for pipeline {pipeline_id}.")
        return str(expect(answer, "LaunchRunSuccess")["run"]["runId"])

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]:
        """Return Dagster's runs for the run, or for one attempt of it, newest first.

        One attempt has more than one when a launch was repeated because its outcome was unknown.
        """
        tags = [_tag(RUN_ID_TAG, run_id)]
        if attempt is not None:
            tags.append(_tag(ATTEMPT_TAG, attempt))
        return self._runs({"tags": tags})

    def find_by_pipeline_tag(self, pipeline_id: UUID) -> list[DagsterRun]:
        """Return the pipeline's newest Dagster runs, at most `RUNS_AT_ONCE`."""
        return self._runs({"tags": [_tag(PIPELINE_ID_TAG, pipeline_id)]})

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]:
        """Return the runs with these ids, in no particular order. Unknown ids are left out."""
        parts = range(0, len(dagster_run_ids), RUNS_AT_ONCE)
        return [
            run
            for start in parts
            for run in self._runs({"runIds": list(dagster_run_ids[start : start + RUNS_AT_ONCE])})
        ]

    def created(self, after: float, before: float) -> Iterator[Sequence[TaggedRun]]:
        """Yield the runs made between two times of the Unix clock in pages, newest first."""
        cursor: str | None = None
        while True:
            answer = self._graphql.answer(
                "created_runs",
                filter={"createdAfter": after, "createdBefore": before},
                cursor=cursor,
                limit=RUNS_AT_ONCE,
            )
            page = [tagged_run_of(result) for result in expect(answer, "Runs")["results"]]
            yield page
            if len(page) < RUNS_AT_ONCE:
                return
            cursor = page[-1].run.id

    def terminate(self, run: DagsterRun) -> None:
        """Ask a run to stop. Call it again until the run has ended.

        A queued run ends at once; a started run ends soon after its worker gets the signal. A run that has
        been stuck for `STUCK_SECONDS` is marked as cancelled without waiting for its worker. A run that is
        starting cannot be stopped. It is not marked earlier, because its process would start all the same and
        overwrite the mark. Nothing happens to a run that has ended or is unknown.
        """
        is_stuck = run.silent_seconds >= STUCK_SECONDS
        if run.dagster_status == "CANCELING" and not is_stuck:
            return
        answer = self._graphql.answer("terminate_run", runId=run.id, policy="SAFE_TERMINATE")
        if answer["__typename"] == "TerminateRunFailure" and is_stuck:
            answer = self._graphql.answer(
                "terminate_run", runId=run.id, policy="MARK_AS_CANCELED_IMMEDIATELY"
            )
        expect(answer, "TerminateRunSuccess", "TerminateRunFailure", "RunNotFoundError")

    def delete_run(self, dagster_run_id: str) -> None:
        """Delete a run and its log. Nothing happens if Dagster does not know the run."""
        answer = self._graphql.answer("delete_run", runId=dagster_run_id)
        expect(answer, "DeletePipelineRunSuccess", "RunNotFoundError")

    def assets(self, pipeline_id: UUID) -> list[tuple[str, ...]]:
        """Return the keys of the assets that the pipeline's runs have recorded."""
        answer = self._graphql.answer("assets", prefix=list(asset_prefix(pipeline_id)))
        return [tuple(asset["key"]["path"]) for asset in expect(answer, "AssetRecordConnection")["assets"]]

    def wipe_assets(self, pipeline_id: UUID) -> None:
        """Delete the asset catalogue's records of the pipeline's data. The data itself stays."""
        keys = self.assets(pipeline_id)
        if keys:
            assets = [{"assetKey": {"path": list(key)}} for key in keys]
            expect(self._graphql.answer("wipe_assets", assets=assets), "AssetWipeSuccess")

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage:
        """Return the part of the run's log after `cursor` (None: from the beginning), oldest line first.

        Reading again from the same cursor gives the same lines, or more. Raises DagsterRunNotFound.
        """
        data = self._graphql.data("run_log", runId=dagster_run_id, cursor=cursor, limit=PAGE_LINES)
        answer = data["answer"]
        if answer["__typename"] == "RunNotFoundError":
            raise DagsterRunNotFound(f"Dagster has no run {dagster_run_id}.")
        status = data["run"].get("status")
        ended = status is None or status_of(status).is_terminal
        return log_page(expect(answer, "EventConnection"), ended=ended)

    def reload(self) -> None:
        """Have Dagster read the pipelines again; return once it has."""
        answer = self._graphql.answer("reload_location", seconds=LAUNCH_SECONDS, location=LOCATION)
        if answer["__typename"] == "RepositoryLocationNotFound":
            raise DagsterFailed(f"Dagster's workspace has no code location {LOCATION}.")
        loaded = expect(answer, "WorkspaceLocationEntry")["locationOrLoadError"]
        if loaded is not None:
            expect(loaded, "RepositoryLocation")

    def health(self) -> DagsterStatus:
        """Say which parts of Dagster work. Never raises."""
        try:
            data = self._graphql.data("health", location=LOCATION)
        except HeadraceError as error:
            return health.status_after(error)
        return health.status_of(data, refusal=self._refusal())

    def require_launchable(self) -> None:
        """Return if a launch can be made now: the code server answers and takes runs."""
        refusal = self._refusal()
        if refusal:
            raise DagsterUnavailable(refusal)

    def _refusal(self) -> str:
        """Return why no launch can be made now; empty if one can."""
        try:
            return self._graphql.probe(LAUNCHABLE_PATH)
        except HeadraceError as error:
            return error.detail

    def _runs(self, wanted: Mapping[str, Any]) -> list[DagsterRun]:
        answer = expect(self._graphql.answer("runs", filter=wanted, limit=RUNS_AT_ONCE), "Runs")
        return [run_of(result) for result in answer["results"]]


def _tag(key: str, value: UUID | int | str) -> dict[str, str]:
    return {"key": key, "value": str(value)}
