"""Use cases of the connector catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.connectors import registry
from headrace.connectors.base import Connector, ConnectorError, Source, Stream, json_schema
from headrace.connectors.config import parse_connector
from headrace.connectors.registry import Kind


@dataclass(frozen=True, kw_only=True)
class ConnectorCard:
    """What the catalogue says of a connector."""

    name: str
    title: str
    summary: str
    streams: Sequence[Stream]  # of a source; empty where they depend on what it is connected to
    dynamic_streams: bool
    config_schema: Mapping[str, Any]  # JSON Schema 2020-12; secrets are writeOnly


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Whether a connector can be used with a configuration."""

    success: bool
    message: str
    code: str | None  # of the error


class Connectors:
    """The connectors that this installation has."""

    def sources(self) -> Sequence[ConnectorCard]:
        """Return the sources by name."""
        return [_card(name, registry.source(name)) for name in registry.source_names()]

    def destinations(self) -> Sequence[ConnectorCard]:
        """Return the destinations by name."""
        return [_card(name, registry.destination(name)) for name in registry.destination_names()]

    def check(self, kind: Kind, name: str, config: Mapping[str, Any]) -> CheckResult:
        """Connect to the system and say what came of it.

        Raises UnknownConnector and InvalidConfig (pointers relative to the config); a system that refuses is
        an answer, not an error.
        """
        connector = parse_connector(kind, name, config)
        try:
            return CheckResult(success=True, message=connector.check(), code=None)
        except ConnectorError as error:
            message = f"{error.detail} {error.hint}".strip()
            return CheckResult(success=False, message=message, code=error.code)


def _card(name: str, connector: type[Connector]) -> ConnectorCard:
    source = connector if issubclass(connector, Source) else None
    return ConnectorCard(
        name=name,
        title=connector.title,
        summary=connector.summary,
        streams=source.known_streams() if source else (),
        dynamic_streams=source is not None and source.dynamic_streams,
        config_schema=json_schema(connector),
    )
