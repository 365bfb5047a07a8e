"""Runs over HTTP."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, with_config
from pydantic.config import JsonDict
from starlette.responses import Response
from typing_extensions import TypedDict

from headrace.records import Role, RunStatus, TriggeredBy
from headrace.service.runs import Runs
from headrace_api.followers import rechecked
from headrace_api.http.auth import authenticate
from headrace_api.http.pagination import Paging, page_of, paged
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp, created
from headrace_api.http.routing import Routes
from headrace_api.resources import downloads, log_stream, run_logs
from headrace_api.resources.receipts import ReceiptView, WarningView

routes = Routes(tag="Runs")

_NEW: JsonDict = {
    "id": "9f2f1c0e-0d54-4c83-8a55-5b7f6e1d2c3b",
    "pipeline_id": "0b9c3d52-8d0e-4a43-9f3e-0d6a3f0f8a55",
    "status": "pending",
    "triggered_by": "manual",
    "created_at": "2024-01-15T10:30:00Z",
}
_ENDED: JsonDict = {
    "id": "9f2f1c0e-0d54-4c83-8a55-5b7f6e1d2c3b",
    "pipeline_id": "0b9c3d52-8d0e-4a43-9f3e-0d6a3f0f8a55",
    "status": "success",
    "triggered_by": "schedule",
    "started_at": "2024-01-15T16:00:00Z",
    "finished_at": "2024-01-15T16:05:23Z",
    "error": None,
}
_OUTPUT: JsonDict = {
    "output_file": "outputs/9f2f1c0e-0d54-4c83-8a55-5b7f6e1d2c3b/output.parquet",
    "output_file_size": 1048576,
}
_FIGURES: JsonDict = {
    "created_at": "2024-01-15T16:00:00Z",
    "scheduled_at": "2024-01-15T16:00:00Z",
    "rows": 12000,
    "bytes": 4194304,
    "attempt": 1,
    "phase": None,
    "error_code": None,
    "dagster_run_id": "1d8f6a8c-7a86-4f0e-b6cf-0a6f6f0f9f10",
}


@with_config(extra="forbid")
class RunFilters(Paging, total=False):
    """The runs to list."""

    status: Annotated[RunStatus, Field(description="Only runs with this status.")]


@with_config(extra="forbid")
class DownloadFormat(TypedDict, total=False):
    """The format of the output."""

    format: Annotated[
        Literal["parquet", "csv", "jsonl"],
        Field(
            description="`parquet` is the file itself. The other formats are converted while they are sent."
        ),
    ]


class NewRun(BaseModel):
    """A new run, which waits for a worker."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_NEW]})

    id: UUID
    pipeline_id: UUID
    status: RunStatus
    triggered_by: TriggeredBy
    created_at: Timestamp


class RunItem(BaseModel):
    """A run in a list."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{**_ENDED, "created_at": "2024-01-15T16:00:00Z"}]},
    )

    id: UUID
    pipeline_id: UUID
    status: RunStatus
    triggered_by: TriggeredBy
    started_at: Timestamp | None
    finished_at: Timestamp | None
    error: str | None
    created_at: Timestamp


class RunOfAny(RunItem):
    """A run in the list of the runs of all pipelines."""

    pipeline_name: str
    rows: int | None = Field(description="Rows read so far.")
    bytes: int | None = Field(description="Bytes read so far, in Arrow's memory format.")


class AttemptView(BaseModel):
    """A failed attempt of a run, after which the run was tried again."""

    model_config = ConfigDict(from_attributes=True)

    attempt: int
    started_at: Timestamp | None
    finished_at: Timestamp
    error_code: str
    error: str
    dagster_run_id: str | None


class RunView(BaseModel):
    """A run."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [{**_ENDED, **_OUTPUT, **_FIGURES}]}
    )

    id: UUID
    pipeline_id: UUID
    status: RunStatus
    triggered_by: TriggeredBy
    started_at: Timestamp | None
    finished_at: Timestamp | None
    error: str | None
    output_file: str | None = Field(description="Path of the output file, relative to the home folder.")
    output_file_size: int | None = Field(description="Size in bytes.")
    created_at: Timestamp
    scheduled_at: Timestamp | None = Field(
        description="The slot of the schedule; null if the run was triggered manually."
    )
    rows: int | None = Field(description="Rows read so far.")
    bytes: int | None = Field(description="Bytes read so far, in Arrow's memory format.")
    attempt: int
    phase: str | None = Field(description="The worker's current phase.")
    error_code: str | None
    dagster_run_id: str | None
    attempts: Sequence[AttemptView] = Field([], description="Earlier, failed attempts, oldest first.")
    receipt: ReceiptView | None = Field(None, description="What the run did; null until it has ended.")
    warnings: Sequence[WarningView] = Field([], description="What a reader of the data must know.")


class RunLog(BaseModel):
    """What a run has logged so far."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"logs": "2024-01-15 16:00:00 INFO Starting pipeline...\n..."}]}
    )

    logs: str = Field(description="Lines such as `2024-01-15 16:00:00 INFO message`, with times in UTC.")


class Cancelled(BaseModel):
    """The run is cancelled."""

    status: RunStatus = Field(examples=[RunStatus.CANCELLED])


@routes("POST", "/api/pipelines/{pipeline_id:uuid}/run", role=Role.EDITOR, status=201, problems=(404, 409))
def run_pipeline(call: Call, pipeline_id: UUID) -> Answer[NewRun]:
    """Trigger a pipeline run manually.

    The run is accepted as `pending` even while Dagster is down, and starts once Dagster is back. A pipeline
    has at most one active run: 409 `run.already_active` has its id in `run_id`.
    """
    run = _runs(call).trigger(pipeline_id)
    return created(NewRun.model_validate(run), f"/api/pipelines/runs/{run.id}")


@routes("GET", "/api/pipelines/{pipeline_id:uuid}/runs", role=Role.VIEWER, problems=(404,))
def list_pipeline_runs(call: Call, pipeline_id: UUID, query: RunFilters) -> Answer[Sequence[RunItem]]:
    """List the runs of a pipeline, newest first."""
    page = page_of(query)
    runs, total = _runs(call).list(page, pipeline_id=pipeline_id, status=query.get("status"))
    return paged(call.request, page, [RunItem.model_validate(run) for run in runs], total)


@routes("GET", "/api/runs", role=Role.VIEWER)
def list_runs(call: Call, query: RunFilters) -> Answer[Sequence[RunOfAny]]:
    """List the runs of all pipelines, newest first."""
    page = page_of(query)
    found, total = _runs(call).list(page, status=query.get("status"))
    names = _runs(call).pipeline_names(found)
    items = [
        RunOfAny.model_validate({**vars(run), "pipeline_name": names.get(run.pipeline_id, "")})
        for run in found
    ]
    return paged(call.request, page, items, total)


@routes("GET", "/api/pipelines/runs/{run_id:uuid}", role=Role.VIEWER, problems=(404,))
def get_run(call: Call, run_id: UUID) -> Answer[RunView]:
    """Get a run's details."""
    found = _runs(call).details(run_id)
    receipt = ReceiptView.model_validate(found.receipt) if found.receipt else None
    warnings = found.receipt.warnings if found.receipt else ()
    added = {
        "attempts": [AttemptView.model_validate(attempt) for attempt in found.attempts],
        "receipt": receipt,
        "warnings": [WarningView.model_validate(warning) for warning in warnings],
    }
    return Answer(body=RunView.model_validate(found.run).model_copy(update=added))


@routes(
    "GET",
    "/api/pipelines/runs/{run_id:uuid}/logs",
    role=Role.VIEWER,
    content={log_stream.MEDIA_TYPE: {"type": "string"}},
    problems=(404, 503),
    pool="logs",
)
def get_run_logs(call: Call, run_id: UUID) -> Answer[RunLog] | Response:
    """Get a run's log.

    With `Accept: text/event-stream`, the answer follows the log while it grows. It has one event for each
    line, and an event `end` when the run has ended and the log is complete. `Last-Event-ID` resumes it.
    One token may follow 250 logs at once.
    """
    runs, dagster = _runs(call), call.backend.dagster
    if log_stream.is_wanted(call.request):
        return _followed(call, run_id)
    return Answer(body=RunLog(logs=run_logs.render(run_logs.read(dagster, runs.get(run_id)))))


@routes(
    "GET",
    "/api/pipelines/runs/{run_id:uuid}/download",
    role=Role.VIEWER,
    content=downloads.CONTENT,
    problems=(404, 409, 410, 416),
)
def download_run_output(call: Call, run_id: UUID, query: DownloadFormat) -> Response:
    """Download a run's output file.

    The Parquet file supports byte ranges. 409: the run has not finished. 404: the run finished without an
    output. 410: the file has been deleted since.
    """
    path = _runs(call).output(run_id)
    return downloads.attached(call.request, path, name=str(run_id), format_=query.get("format", "parquet"))


@routes("POST", "/api/pipelines/runs/{run_id:uuid}/cancel", role=Role.EDITOR, problems=(404, 409))
def cancel_run(call: Call, run_id: UUID) -> Answer[Cancelled]:
    """Cancel a pending or running run.

    Cancelling is final. 409 `run.already_ended` has the final status in `run_status`.
    """
    return Answer(body=Cancelled(status=_runs(call).cancel(run_id).status))


def _followed(call: Call, run_id: UUID) -> Response:
    backend, followers, organization_id = call.backend, call.backend.followers, call.principal.organization_id
    look_up = partial(followers.run, run_id, organization_id, partial(_runs(call).get, run_id))
    return log_stream.followed(
        call.request,
        call.principal,
        followers,
        followers.source(backend.dagster),
        rechecked(look_up, partial(authenticate, backend.platform, call.request)),
        backend.closing,
    )


def _runs(call: Call) -> Runs:
    return Runs(call.backend.platform, call.principal)
