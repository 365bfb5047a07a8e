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

# The plural is accepted too, so that the path of a check begins with the path of its list.
KindName = Literal["source", "destination", "sources", "destinations"]
_KINDS: dict[KindName, Kind] = {
    "source": "source",
    "sources": "source",
    "destination": "destination",
    "destinations": "destination",
}


class ConnectorNotFound(NotFound):
    """No connector of this kind has this name."""

    code = "connector.not_found"
    title = "Connector not found"
    hint = "List them with GET /api/connectors/sources and GET /api/connectors/destinations."


class StreamView(BaseModel):
    """A stream of records that a source can read, such as a table."""

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
    streams: Sequence[StreamView] = Field(
        description="Empty if the streams depend on the system that the source connects to."
    )
    dynamic_streams: bool = Field(description="Whether there may be streams that are not listed.")
    config_schema: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of the connector's keys. Secrets are `writeOnly`."
    )


class ConnectorConfig(BaseModel):
    """A connector's keys, as a pipeline has them below `source` or `destination.config`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"config": {}}]})

    config: Config


class PreviewRequest(ConnectorConfig):
    """The records to read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"config": {}, "stream": "creatures"}]})

    stream: Name
    limit: int = Field(10, ge=1, le=LARGEST_PREVIEW)


class ColumnView(BaseModel):
    """A column of the file that a run would write."""

    name: str
    type: str = Field(description="The Apache Arrow type, such as `timestamp[us, tz=UTC]`.")


class PreviewView(BaseModel):
    """The first records of a stream."""

    model_config = ConfigDict(from_attributes=True)

    columns: Sequence[ColumnView]
    records: Sequence[dict[str, Any]] = Field(
        description="By column name. Times are ISO 8601, decimals text, bytes base64. Long texts are cut."
    )


class CheckView(BaseModel):
    """Whether the connector can use the system with this configuration."""

    model_config = ConfigDict(from_attributes=True)

    success: bool
    message: str
    code: str | None = Field(description="The error's code; null on success.")


@routes("GET", "/api/connectors/sources", role=Role.VIEWER)
def list_sources(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the sources, sorted by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in _connectors(call).sources()])


@routes("GET", "/api/connectors/destinations", role=Role.VIEWER)
def list_destinations(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the destinations, sorted by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in _connectors(call).destinations()])


@routes("POST", "/api/connectors/{kind}/{name}/check", role=Role.EDITOR, problems=(404,))
def check_connector(call: Call, kind: KindName, name: str, body: ConnectorConfig) -> Answer[CheckView]:
    """Test the connection to a system.

    If the system refuses or does not answer, this returns 200 with `success: false`. Nothing is stored.
    """
    if kind not in _KINDS:
        raise ConnectorNotFound("The kind must be source or destination.")
    with _faults_of_body():
        result = _connectors(call).check(_KINDS[kind], name, body.config)
    return Answer(body=CheckView.model_validate(result))


@routes("POST", "/api/connectors/sources/{name}/streams", role=Role.EDITOR, problems=(404, 503))
def list_streams(call: Call, name: str, body: ConnectorConfig) -> Answer[Sequence[StreamView]]:
    """Ask the system for its streams. Nothing is stored.

    422 `connector.refused`: the system refused. 503 `connector.timed_out`: it took longer than 30 s.
    """
    with _faults_of_body():
        streams = _connectors(call).streams(name, body.config)
    return Answer(body=[StreamView.model_validate(stream) for stream in streams])


@routes("POST", "/api/connectors/sources/{name}/preview", role=Role.EDITOR, problems=(404, 503))
def preview_stream(call: Call, name: str, body: PreviewRequest) -> Answer[PreviewView]:
    """Read the first records of a stream, converted as in a run. Nothing is stored.

    422 `connector.refused`: the system refused. 503 `connector.timed_out`: it took longer than 30 s.
    """
    with _faults_of_body():
        preview = _connectors(call).preview(name, body.config, stream=body.stream, limit=body.limit)
    return Answer(body=PreviewView.model_validate(preview))


def _connectors(call: Call) -> Connectors:
    return Connectors(call.backend.platform.settings)


@contextmanager
def _faults_of_body() -> Iterator[None]:
    """Make the pointers of a connector's errors start at the body, in which the config is a field."""
    try:
        yield
    except UnknownConnector as error:
        raise ConnectorNotFound(error.detail) from None
    except InvalidConfig as error:
        raise InvalidConfig([_below_config(fault) for fault in error.errors]) from None


def _below_config(fault: FieldError) -> FieldError:
    return FieldError(pointer=f"/config{fault.pointer}", code=fault.code, detail=fault.detail)
