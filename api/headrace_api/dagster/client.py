"""The API's only way to Dagster: GraphQL over HTTP, with the queries that lie in `queries/`.

Every method is one or two requests, safe to call from any thread, bounded in time, and never repeated by
itself: the control loops decide what is tried again. What Dagster says of an error may quote its own
settings, so it goes into the exception's notes, for the platform's own log, and never into the detail that
clients read.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any
from uuid import UUID

import httpx
from gql import Client, GraphQLRequest
from gql.client import SyncClientSession
from gql.transport.exceptions import TransportError, TransportQueryError, TransportServerError
from gql.transport.httpx import HTTPXTransport

from headrace.errors import HeadraceError, NotFound, Unavailable
from headrace.naming import (
    ATTEMPT_TAG,
    LOCATION,
    PIPELINE_ID_TAG,
    REPOSITORY,
    RUN_ID_TAG,
    asset_prefix,
    job_name,
    schedule_name,
)
from headrace.records import RunStatus
from headrace_api.dagster.log import LogPage, log_page

ANSWER_SECONDS = 10.0
LAUNCH_SECONDS = 20.0
"""Longer, since launching may wait for a process; shorter than a dispatcher's lease on the run."""
STUCK_SECONDS = 60.0
"""How long a run may take to start or to cancel until it is marked as cancelled without its worker's word."""
HEARTBEAT_SECONDS = 90.0
"""Daemons beat every 30 s, and Dagster itself forgives 30 minutes of silence."""
PAGE_LINES = 1000
_SCHEDULE_TAG = "dagster/schedule_name"
RUNS_AT_ONCE = 100


class DagsterUnavailable(Unavailable):
    """Dagster's webserver does not answer, or not in time: what was asked may or may not have been done."""

    code = "dagster.unavailable"
    title = "Dagster is unavailable"
    hint = "Runs that were accepted start once Dagster is back; see GET /api/ready."


class DagsterFailed(Unavailable):
    """Dagster answered, with an error of its own."""

    code = "dagster.failed"
    title = "Dagster failed"
    hint = "See the REST service's log and the Dagster UI."


class JobNotFound(Unavailable):
    """Dagster does not know the pipeline's job (yet): its code location may be loading, or away."""

    code = "dagster.job_not_found"
    title = "Dagster does not know the pipeline yet"


class DagsterRunNotFound(NotFound):
    """Dagster has no such run: it was deleted there."""

    code = "dagster.run_not_found"
    title = "Dagster run not found"


@dataclass(frozen=True, kw_only=True)
class DagsterRun:
    """Dagster's view of a run."""

    id: str  # Dagster's own
    run_id: UUID | None  # the platform's; None where the run was started in Dagster's UI
    dagster_status: str
    status: RunStatus
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class DagsterStatus:
    """Which parts of Dagster work; `details` has a sentence for each part that can be told of."""

    webserver: bool
    daemon: bool
    code_location: bool
    details: dict[str, str]


class DagsterClient:
    """A connection pool to the webserver at `address`, such as `http://127.0.0.1:3000`.

    `token` is asked for each request, so that a changed token needs no restart. Proxies that the environment
    names are not used: Dagster is the installation's own.
    """

    def __init__(self, address: str, token: Callable[[], str] | None = None) -> None:
        transport = HTTPXTransport(
            f"{address.rstrip('/')}/graphql",
            auth=_Bearer(token) if token else None,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=3.0),
            # Below the webserver's own 5 s: a connection that it is about to close is not used again.
            limits=httpx.Limits(max_keepalive_connections=10, keepalive_expiry=2.0),
            trust_env=False,
        )
        self._client = Client(transport=transport)
        self._session: SyncClientSession = self._client.connect_sync()  # type: ignore[no-untyped-call]  # gql's

    def close(self) -> None:
        """Close the connections; requests under way fail."""
        self._client.close_sync()  # type: ignore[no-untyped-call]  # gql's

    def launch(self, pipeline_id: UUID, run_id: UUID, attempt: int = 1, *, is_scheduled: bool = False) -> str:
        """Launch the pipeline's job for an attempt of the run and return Dagster's id of it.

        With `is_scheduled`, Dagster lists the run with those of the pipeline's schedule.

        Not idempotent: after DagsterUnavailable, ask `find_by_run_tag` first. Raises JobNotFound.
        """
        answer = self._ask(
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
        return str(_expect(answer, "LaunchRunSuccess")["run"]["runId"])

    def find_by_run_tag(self, run_id: UUID, attempt: int | None = None) -> list[DagsterRun]:
        """Return Dagster's runs of the run or of one attempt, newest first; two after a doubtful launch."""
        tags = [_tag(RUN_ID_TAG, run_id)]
        if attempt is not None:
            tags.append(_tag(ATTEMPT_TAG, attempt))
        return self._runs({"tags": tags}, RUNS_AT_ONCE)

    def find_by_pipeline_tag(self, pipeline_id: UUID) -> list[DagsterRun]:
        """Return the pipeline's newest Dagster runs, `RUNS_AT_ONCE` at most."""
        return self._runs({"tags": [_tag(PIPELINE_ID_TAG, pipeline_id)]}, RUNS_AT_ONCE)

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]:
        """Return those of the runs that Dagster knows, in no particular order."""
        parts = range(0, len(dagster_run_ids), RUNS_AT_ONCE)
        return [
            run
            for start in parts
            for run in self._runs(
                {"runIds": list(dagster_run_ids[start : start + RUNS_AT_ONCE])}, RUNS_AT_ONCE
            )
        ]

    def terminate(self, run: DagsterRun) -> None:
        """Ask a run that has not ended to stop; to be called again until it has ended.

        A queued run ends at once, a started one a moment after its worker noticed. One that is stuck for
        `STUCK_SECONDS` is marked as cancelled without its worker's word. One that is starting cannot be
        stopped, and is not marked any sooner: its process would come up all the same, and its start would
        overwrite the mark. A run that ended meanwhile or is unknown is left alone.
        """
        is_stuck = time.time() - run.updated_at.timestamp() >= STUCK_SECONDS
        if run.dagster_status == "CANCELING" and not is_stuck:
            return
        answer = self._ask("terminate_run", runId=run.id, policy="SAFE_TERMINATE")
        if answer["__typename"] == "TerminateRunFailure" and is_stuck:
            answer = self._ask("terminate_run", runId=run.id, policy="MARK_AS_CANCELED_IMMEDIATELY")
        _expect(answer, "TerminateRunSuccess", "TerminateRunFailure", "RunNotFoundError")

    def delete_run(self, dagster_run_id: str) -> None:
        """Delete a run and its log; one that Dagster does not know is as good as deleted."""
        answer = self._ask("delete_run", runId=dagster_run_id)
        _expect(answer, "DeletePipelineRunSuccess", "RunNotFoundError")

    def assets(self, pipeline_id: UUID) -> list[tuple[str, ...]]:
        """Return the keys of the assets that the pipeline's runs have recorded."""
        answer = self._ask("assets", prefix=list(asset_prefix(pipeline_id)))
        return [tuple(asset["key"]["path"]) for asset in _expect(answer, "AssetRecordConnection")["assets"]]

    def wipe_assets(self, pipeline_id: UUID) -> None:
        """Remove what the catalogue of assets has recorded of the pipeline's data; the data itself stays."""
        keys = self.assets(pipeline_id)
        if keys:
            answer = self._ask("wipe_assets", assets=[{"assetKey": {"path": list(key)}} for key in keys])
            _expect(answer, "AssetWipeSuccess")

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage:
        """Return the part of the run's log that follows `cursor` (None: its beginning), oldest line first.

        The same cursor gives the same lines again, or more. Raises DagsterRunNotFound.
        """
        data = self._data("run_log", ANSWER_SECONDS, runId=dagster_run_id, cursor=cursor, limit=PAGE_LINES)
        answer = data["answer"]
        if answer["__typename"] == "RunNotFoundError":
            raise DagsterRunNotFound(f"Dagster has no run {dagster_run_id}.")
        status = data["run"].get("status")
        return log_page(
            _expect(answer, "EventConnection"), ended=status is None or _status_of(status).is_terminal
        )

    def reload(self) -> None:
        """Have Dagster read the pipelines anew; returns when it has."""
        answer = self._ask("reload_location", seconds=LAUNCH_SECONDS, location=LOCATION)
        if answer["__typename"] == "RepositoryLocationNotFound":
            raise DagsterFailed(f"Dagster's workspace has no code location {LOCATION}.")
        loaded = _expect(answer, "WorkspaceLocationEntry")["locationOrLoadError"]
        if loaded is not None:
            _expect(loaded, "RepositoryLocation")

    def health(self) -> DagsterStatus:
        """Say which parts of Dagster work; never raises."""
        try:
            data = self._data("health", ANSWER_SECONDS, location=LOCATION)
        except HeadraceError as error:
            answered = isinstance(error, DagsterFailed)
            details = {"webserver": error.detail}
            return DagsterStatus(webserver=answered, daemon=False, code_location=False, details=details)
        silent = _silent_daemons(data["instance"]["daemonHealth"]["allDaemonStatuses"])
        location = data["location"]
        loaded = (location or {}).get("locationOrLoadError")
        code_location = loaded is not None and loaded["__typename"] == "RepositoryLocation"
        return DagsterStatus(
            webserver=True,
            daemon=not silent,
            code_location=code_location,
            details={
                "webserver": "Answers.",
                "daemon": f"No heartbeat of {', '.join(silent)}." if silent else "All daemons beat.",
                "code_location": "Loaded." if code_location else "Not loaded.",
            },
        )

    def _runs(self, wanted: Mapping[str, Any], limit: int) -> list[DagsterRun]:
        answer = _expect(self._ask("runs", filter=wanted, limit=limit), "Runs")
        return [_run_of(result) for result in answer["results"]]

    def _ask(self, query: str, *, seconds: float = ANSWER_SECONDS, **variables: Any) -> dict[str, Any]:
        """Return the one answer of a query, which Dagster's own errors are not."""
        answer: dict[str, Any] = self._data(query, seconds, **variables)["answer"]
        return answer

    def _data(self, query: str, seconds: float, **variables: Any) -> dict[str, Any]:
        request = GraphQLRequest(_request(query), variable_values=variables)
        # A PythonError may come with HTTP 500; the transport reads the body whatever the status is.
        try:
            return self._session.execute(request, extra_args={"timeout": httpx.Timeout(seconds, connect=3.0)})
        except TransportQueryError as error:
            raise _failed("GraphQL error", str(error)) from None
        except TransportServerError as error:
            if error.code in (401, 403):
                raise DagsterUnavailable("Dagster refused the platform's token.") from None
            raise DagsterUnavailable(f"Dagster's webserver answered with HTTP {error.code}.") from None
        except TransportError as error:
            raise _unreachable(error.__cause__) from None


class _Bearer(httpx.Auth):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]  # asks for no answer
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


@cache
def _request(query: str) -> GraphQLRequest:
    file = resources.files("headrace_api.dagster") / "queries" / f"{query}.graphql"
    return GraphQLRequest(file.read_text(encoding="utf-8"))


def _expect(answer: dict[str, Any], *types: str) -> dict[str, Any]:
    """Return the answer when it is of one of the types. Raises DagsterFailed."""
    if answer["__typename"] in types:
        return answer
    raise _failed(answer.get("className") or answer["__typename"], answer.get("message") or "")


def _failed(kind: str, message: str) -> DagsterFailed:
    error = DagsterFailed(f"Dagster answered with an error ({kind}).")
    error.add_note(message.strip())
    return error


def _unreachable(cause: BaseException | None) -> HeadraceError:
    if isinstance(cause, HeadraceError):
        return cause  # of `token`, which is called while a request is made
    late = isinstance(cause, httpx.TimeoutException)
    return DagsterUnavailable("Dagster did not answer in time." if late else "Dagster cannot be reached.")


def _tag(key: str, value: UUID | int | str) -> dict[str, str]:
    return {"key": key, "value": str(value)}


def _run_of(result: Mapping[str, Any]) -> DagsterRun:
    tags = {tag["key"]: tag["value"] for tag in result["tags"]}
    return DagsterRun(
        id=result["runId"],
        run_id=_uuid_or_none(tags.get(RUN_ID_TAG)),
        dagster_status=result["status"],
        status=_status_of(result["status"]),
        updated_at=datetime.fromtimestamp(result["updateTime"] or 0.0, UTC),
    )


def _uuid_or_none(text: str | None) -> UUID | None:
    """Tags can be written by hand in Dagster's UI: one that is no id is no tag of ours."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _status_of(dagster_status: str) -> RunStatus:
    """Map Dagster's status; those that run elsewhere or that a newer Dagster invents count as running."""
    match dagster_status:
        case "NOT_STARTED" | "QUEUED" | "STARTING":
            return RunStatus.PENDING
        case "SUCCESS":
            return RunStatus.SUCCESS
        case "FAILURE":
            return RunStatus.FAILED
        case "CANCELED":
            return RunStatus.CANCELLED
        case _:
            return RunStatus.RUNNING


def _silent_daemons(statuses: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        str(status["daemonType"])
        for status in statuses
        if status["required"]
        and not (status["healthy"] and time.time() - status["lastHeartbeatTime"] < HEARTBEAT_SECONDS)
    ]
