"""The catalogue of connectors over HTTP."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.connectors.base import SyncMode
from headrace.connectors.config import InvalidConfig
from headrace.connectors.registry import Kind, UnknownConnector
from headrace.errors import FieldError, NotFound
from headrace.records import Role
from headrace.service.connectors import Connectors
from headrace_api.payloads import Config
from headrace_api.requests import Call
from headrace_api.responses import Answer
from headrace_api.routing import Routes

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


class CheckView(BaseModel):
    """Whether the system can be used with the configuration."""

    model_config = ConfigDict(from_attributes=True)

    success: bool
    message: str
    code: str | None = Field(description="Of what went wrong.")


@routes("GET", "/api/connectors/sources", role=Role.VIEWER)
def list_sources(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the sources by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in Connectors().sources()])


@routes("GET", "/api/connectors/destinations", role=Role.VIEWER)
def list_destinations(call: Call) -> Answer[Sequence[ConnectorView]]:
    """List the destinations by name."""
    return Answer(body=[ConnectorView.model_validate(card) for card in Connectors().destinations()])


@routes("POST", "/api/connectors/{kind}/{name}/check", role=Role.EDITOR, problems=(404,))
def check_connector(call: Call, kind: KindName, name: str, body: ConnectorConfig) -> Answer[CheckView]:
    """Connect to a system and say what came of it.

    A system that refuses or does not answer is 200 with `success: false`; nothing is stored.
    """
    if kind not in _KINDS:
        raise ConnectorNotFound("There are sources and destinations.")
    try:
        result = Connectors().check(_KINDS[kind], name, body.config)
    except UnknownConnector as error:
        raise ConnectorNotFound(error.detail) from None
    except InvalidConfig as error:
        raise InvalidConfig([_below_config(fault) for fault in error.errors]) from None
    return Answer(body=CheckView.model_validate(result))


def _below_config(fault: FieldError) -> FieldError:
    return FieldError(pointer=f"/config{fault.pointer}", code=fault.code, detail=fault.detail)
