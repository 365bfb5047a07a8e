"""The catalogue of connectors over HTTP."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.connectors import SyncMode
from headrace.connectors.registry import Kind, UnknownConnector
from headrace.errors import FieldError, NotFound
from headrace.pipeline.faults import InvalidConfig
from headrace.records import Role
from headrace.service.connectors import LARGEST_PREVIEW, Connectors
from headrace_api.http.payloads import Config, Name
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer
from headrace_api.http.routing import Routes

routes = Routes(tag="Connectors")

# The lists' own names are kinds as well, so that a check lies below its list.
KindName = Literal["source", "destination", "sources", "destinations"]
_KINDS: dict[KindName, Kind] = {
    "source": "source",
    "sources": "source",
    "destination": "destination",
    "destinations": "destination",
}


class ConnectorNotFound(NotFound):
    """There is no connector of that kind with that name."""

    code = "connector.not_found"
    title = "Connector not found"
    hint = "List them with GET /api/connectors/sources and GET /api/connectors/destinations."


class StreamView(BaseModel):
    """One table-like thing that a source can read."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str
    sync_modes: Sequence[SyncMode]
    primary_key: Sequence[str]
    cursor_field: str | None


class ConnectorView(BaseModel):
    """A connector that pipelines can use."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    title: str
    summary: str
    streams: Sequence[StreamView] = Field(description="Empty where they depend on what it connects to.")
    dynamic_streams: bool = Field(description="Whether streams beyond the listed may exist.")
    config_schema: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of its own keys; secrets are `writeOnly`."
    )


class ConnectorConfig(BaseModel):
    """A connector's own keys: what a pipeline has below `source`, or below `destination.config`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"config": {}}]})

    config: Config


class PreviewRequest(ConnectorConfig):
    """Which records to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"config": {}, "stream": "creatures"}]})

    stream: Name
    limit: int = Field(10, ge=1, le=LARGEST_PREVIEW)


class ColumnView(BaseModel):
    """A column of the file that a run would write."""

    name: str
    type: str = Field(description="In Apache Arrow's words, such as `timestamp[us, tz=UTC]`.")


class PreviewView(BaseModel):
    """The first records of a stream."""

    model_config = ConfigDict(from_attributes=True)

    columns: Sequence[ColumnView]
    records: Sequence[dict[str, Any]] = Field(
        description="By column. Times as ISO 8601, decimals as text, bytes as base64; long texts are cut."
    )


class CheckView(BaseModel):
    """Whether the system can be used with the configuration."""

    model_config = ConfigDict(from_attributes=True)

    success: bool
    message: str
    code: str | None = Field(description="Of what went wrong.")


@routes("GET", "/api/connectors/sources", role=Role.VIEWER)
def list_sources(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the sources by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in _connectors(call).sources()])


@routes("GET", "/api/connectors/destinations", role=Role.VIEWER)
def list_destinations(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the destinations by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in _connectors(call).destinations()])


@routes("POST", "/api/connectors/{kind}/{name}/check", role=Role.EDITOR, problems=(404,))
def check_connector(call: Call, kind: KindName, name: str, body: ConnectorConfig) -> Answer[CheckView]:
    """Connect to a system and say what came of it.

    A system that refuses or does not answer is 200 with `success: false`; nothing is stored.
    """
    if kind not in _KINDS:
        raise ConnectorNotFound("There are sources and destinations.")
    with _faults_of_body():
        result = _connectors(call).check(_KINDS[kind], name, body.config)
    return Answer(body=CheckView.model_validate(result))


@routes("POST", "/api/connectors/sources/{name}/streams", role=Role.EDITOR, problems=(404, 503))
def list_streams(call: Call, name: str, body: ConnectorConfig) -> Answer[Sequence[StreamView]]:
    """Ask the system for the streams that it has; nothing is stored.

    A system that refuses is 422 `connector.refused`; one that takes over 30 s is 503 `connector.timed_out`.
    """
    with _faults_of_body():
        streams = _connectors(call).streams(name, body.config)
    return Answer(body=[StreamView.model_validate(stream) for stream in streams])


@routes("POST", "/api/connectors/sources/{name}/preview", role=Role.EDITOR, problems=(404, 503))
def preview_stream(call: Call, name: str, body: PreviewRequest) -> Answer[PreviewView]:
    """Read the first records of a stream, in the form in which a run writes them; nothing is stored.

    A system that refuses is 422 `connector.refused`; one that takes over 30 s is 503 `connector.timed_out`.
    """
    with _faults_of_body():
        preview = _connectors(call).preview(name, body.config, stream=body.stream, limit=body.limit)
    return Answer(body=PreviewView.model_validate(preview))


def _connectors(call: Call) -> Connectors:
    return Connectors(call.backend.platform.settings)


@contextmanager
def _faults_of_body() -> Iterator[None]:
    """Point to the faults of a connector's config where it lies in the body."""
    try:
        yield
    except UnknownConnector as error:
        raise ConnectorNotFound(error.detail) from None
    except InvalidConfig as error:
        raise InvalidConfig([_below_config(fault) for fault in error.errors]) from None


def _below_config(fault: FieldError) -> FieldError:
    return FieldError(pointer=f"/config{fault.pointer}", code=fault.code, detail=fault.detail)
