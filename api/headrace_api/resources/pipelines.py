"""Pipelines over HTTP."""

from collections.abc import Sequence
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from headrace.records import Pipeline, Role, RunStatus
from headrace.service.pipelines import PipelineChanges, PipelineDraft, Pipelines
from headrace_api.http.pagination import Paging, page_of, paged
from headrace_api.http.payloads import Config, Name, SearchText, Switch, Tag, Tags
from headrace_api.http.preconditions import if_match, revision_tag
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp, created, nothing
from headrace_api.http.routing import Routes
from headrace_api.resources.policies import PolicyBody

routes = Routes(tag="Pipelines")

_CONFIG: JsonDict = {
    "name": "hubspot-contacts",
    "source": {
        "name": "hubspot",
        "stream": "contacts",
        "authentication": {"type": "api_key", "params": {"token": "pat-xxx"}},
    },
    "destination": {"name": "bigquery", "config": {"project_id": "my-project", "dataset": "raw_data"}},
}
_ID = "0b9c3d52-8d0e-4a43-9f3e-0d6a3f0f8a55"
_NAME = "HubSpot to BigQuery"
_EXAMPLE: JsonDict = {"name": _NAME, "schedule": "0 */6 * * *", "enabled": True, "domain_id": None}
_LAST_RUN: JsonDict = {
    "domain_name": None,
    "last_run_status": "success",
    "last_run_at": "2024-01-15T16:00:00Z",
}
_TIMES: JsonDict = {"created_at": "2024-01-15T10:00:00Z", "updated_at": None}
_TRAITS: JsonDict = {
    "timezone": "UTC",
    "tags": [],
    "source": "hubspot",
    "stream": "contacts",
    "destination": "bigquery",
    "sync_mode": "full_refresh",
    "policy": PolicyBody().model_dump(mode="json"),
}

Schedule = Annotated[
    str | None,
    Field(
        description="Five cron fields, or an alias such as `@hourly`. Null or empty: manual runs only.",
        examples=["0 */6 * * *"],
    ),
]
Timezone = Annotated[str, Field(description="IANA time zone of the schedule.", examples=["UTC"])]


class NewPipeline(BaseModel):
    """A new pipeline."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": _NAME, "config": _CONFIG, **_EXAMPLE}]}
    )

    name: Name
    config: Config
    schedule: Schedule = None
    timezone: Timezone = "UTC"
    enabled: bool = True
    domain_id: UUID | None = None
    tags: Tags = []
    policy: PolicyBody = PolicyBody()


@with_config(
    extra="forbid",
    json_schema_extra={
        "examples": [{"name": "HubSpot Contacts (Production)", "schedule": "0 */4 * * *", "enabled": False}]
    },
)
class PipelineUpdate(TypedDict, total=False):
    """The fields to change. Absent fields stay as they are."""

    name: Name
    config: Config
    schedule: Schedule
    timezone: Timezone
    enabled: bool
    domain_id: UUID | None
    tags: Tags
    policy: PolicyBody


@with_config(extra="forbid", json_schema_extra={"examples": [{"name": "HubSpot to BigQuery (Copy)"}]})
class PipelineCopy(TypedDict, total=False):
    """The name of the copy. Absent or null: derived from the original's name."""

    name: Name | None


@with_config(extra="forbid")
class PipelineFilters(Paging, total=False):
    """The pipelines to list."""

    domain_id: Annotated[UUID, Field(description="Only pipelines of this domain.")]
    enabled: Annotated[Switch, Field(description="Only enabled, or only disabled pipelines.")]
    tag: Annotated[Tag, Field(description="Only pipelines with this tag.")]
    q: Annotated[
        SearchText, Field(description="Only pipelines whose name contains this text, ignoring case.")
    ]


class _Traits(BaseModel):
    """The fields that every view of a pipeline has at its end."""

    model_config = ConfigDict(from_attributes=True)

    timezone: str
    tags: Sequence[str]
    source: str = Field(description="The source connector's name.")
    stream: str
    destination: str = Field(description="The destination connector's name.")
    sync_mode: str
    policy: PolicyBody


class _ViewKeys(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _ID, **_EXAMPLE, **_TIMES, **_TRAITS}]})

    id: UUID
    name: str
    schedule: str | None
    enabled: bool
    domain_id: UUID | None
    created_at: Timestamp
    updated_at: Timestamp | None


class _ConfigKeys(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": _ID, "name": _NAME, "config": _CONFIG, **_EXAMPLE, **_TIMES, **_TRAITS}]
        }
    )

    id: UUID
    name: str
    config: Config
    schedule: str | None
    enabled: bool
    domain_id: UUID | None
    created_at: Timestamp
    updated_at: Timestamp | None


class _ItemKeys(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": _ID, **_EXAMPLE, **_LAST_RUN, **_TIMES, **_TRAITS}]}
    )

    id: UUID
    name: str
    schedule: str | None
    enabled: bool
    domain_id: UUID | None
    domain_name: str | None
    last_run_status: RunStatus | None
    last_run_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp | None


# pydantic collects fields from the last base to the first, so each view's own fields come first.
class PipelineView(_Traits, _ViewKeys):
    """A pipeline without its config."""


class PipelineWithConfig(_Traits, _ConfigKeys):
    """A pipeline with its config. Secrets are shown as `**********` unless the token may read them."""


class PipelineItem(_Traits, _ItemKeys):
    """A pipeline in a list, with the status of its newest run."""


@routes("POST", "/api/pipelines", role=Role.EDITOR, status=201, problems=(409,))
def create_pipeline(call: Call, body: NewPipeline) -> Answer[PipelineView]:
    """Create a pipeline.

    The config is validated without connecting to any system, and stored encrypted.
    """
    fields = {name: getattr(body, name) for name in NewPipeline.model_fields}
    pipeline = _pipelines(call).create(PipelineDraft(**fields | {"policy": body.policy.record()}))
    return _created(pipeline)


@routes("GET", "/api/pipelines", role=Role.VIEWER)
def list_pipelines(call: Call, query: PipelineFilters) -> Answer[Sequence[PipelineItem]]:
    """List the pipelines, newest first."""
    page = page_of(query)
    pipelines, total = _pipelines(call).list(
        page,
        domain_id=query.get("domain_id"),
        enabled=query.get("enabled"),
        tag=query.get("tag"),
        query=query.get("q"),
    )
    return paged(call.request, page, [PipelineItem.model_validate(each) for each in pipelines], total)


@routes("GET", "/api/pipelines/{pipeline_id:uuid}", role=Role.VIEWER, problems=(404, 409))
def get_pipeline(call: Call, pipeline_id: UUID) -> Answer[PipelineWithConfig]:
    """Get a pipeline with its full config.

    Secrets are shown as `**********` unless the token may read them.
    """
    pipeline, config = _pipelines(call).get_with_config(pipeline_id)
    view = PipelineWithConfig(**_attributes(pipeline), config=config)
    etag = revision_tag(pipeline.revision, masked=not call.principal.reads_secrets)
    return Answer(body=view, headers={"ETag": etag})


@routes("PUT", "/api/pipelines/{pipeline_id:uuid}", role=Role.EDITOR, problems=(404, 409, 412))
def update_pipeline(call: Call, pipeline_id: UUID, body: PipelineUpdate) -> Answer[PipelineView]:
    """Update a pipeline.

    Absent fields stay as they are. A secret sent as `**********` keeps its stored value, unless the config
    would now send it to another address. An active run keeps the config that it started with.
    """
    pipelines = _pipelines(call)
    revision = if_match(call.request).revision(lambda: pipelines.get(pipeline_id).revision)
    changes = cast("PipelineChanges", dict(body))
    if "policy" in body:
        changes["policy"] = body["policy"].record()
    pipeline = pipelines.update(pipeline_id, changes, if_revision=revision)
    headers = {"ETag": revision_tag(pipeline.revision)}
    return Answer(body=PipelineView.model_validate(pipeline), headers=headers)


@routes("DELETE", "/api/pipelines/{pipeline_id:uuid}", role=Role.EDITOR, status=204, problems=(404, 412))
def delete_pipeline(call: Call, pipeline_id: UUID) -> Answer[None]:
    """Delete a pipeline and all its runs.

    Active runs are cancelled. Logs and outputs are deleted soon after.
    """
    pipelines = _pipelines(call)
    revision = if_match(call.request).revision(lambda: pipelines.get(pipeline_id).revision)
    pipelines.delete(pipeline_id, if_revision=revision)
    return nothing()


@routes(
    "POST", "/api/pipelines/{pipeline_id:uuid}/duplicate", role=Role.EDITOR, status=201, problems=(404, 409)
)
def duplicate_pipeline(
    call: Call,
    pipeline_id: UUID,
    body: PipelineCopy = PipelineCopy(),  # noqa: B008  # only read
) -> Answer[PipelineView]:
    """Create a copy of a pipeline.

    The copy is disabled. It shares neither runs nor sync state with the original.
    """
    return _created(_pipelines(call).duplicate(pipeline_id, body.get("name")))


def _pipelines(call: Call) -> Pipelines:
    return Pipelines(call.backend.platform, call.principal)


def _created(pipeline: Pipeline) -> Answer[PipelineView]:
    view = PipelineView.model_validate(pipeline)
    return created(view, f"/api/pipelines/{pipeline.id}", revision_tag(pipeline.revision))


def _attributes(pipeline: Pipeline) -> dict[str, Any]:
    names = PipelineWithConfig.model_fields.keys() - {"config"}
    return {name: getattr(pipeline, name) for name in names}
