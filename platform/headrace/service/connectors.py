"""Use cases of the connector catalogue."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.connectors import Connector, Source, Stream, json_schema, registry
from headrace.connectors.registry import Kind
from headrace.errors import FieldError, HeadraceError, Invalid
from headrace.pipeline.document import parse_connector
from headrace.service.connector_process import ConnectorRefused, ConnectorTimedOut, Task, in_own_process
from headrace.settings import Settings

LARGEST_PREVIEW = 100
_LOG = logging.getLogger(__name__)


class UnknownStream(Invalid):
    """The source has no stream of that name."""

    code = "stream.unknown"
    title = "Unknown stream"
    hint = "POST /api/connectors/sources/{name}/streams lists them."


@dataclass(frozen=True, kw_only=True)
class ConnectorCard:
    """A connector in the catalogue."""

    name: str
    title: str
    summary: str
    streams: Sequence[Stream]  # of a source; empty if they depend on the connected system
    dynamic_streams: bool
    config_schema: Mapping[str, Any]  # JSON Schema 2020-12; secrets are writeOnly


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Whether a connector can be used with a configuration."""

    success: bool
    message: str
    code: str | None  # of the error


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The first records of a stream, as a run's output file would hold them."""

    columns: Sequence[Mapping[str, str]]  # name, and the name of the Arrow type
    records: Sequence[Mapping[str, Any]]  # JSON values; long texts are cut


class Connectors:
    """The connectors that this installation has.

    Methods that connect run in a process of their own. All raise UnknownConnector, BrokenConnector,
    BrokenFile and InvalidConfig, whose pointers are relative to the configuration.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def sources(self) -> Sequence[ConnectorCard]:
        """Return the sources by name. Sources that cannot be imported are left out and logged."""
        return list(_cards(registry.source_names(), registry.source))

    def destinations(self) -> Sequence[ConnectorCard]:
        """Return the destinations by name. Destinations that cannot be imported are left out and logged."""
        return list(_cards(registry.destination_names(), registry.destination))

    def check(self, kind: Kind, name: str, config: Mapping[str, Any]) -> CheckResult:
        """Connect to the system and return the outcome. A refusal is an outcome, not an error."""
        parse_connector(kind, name, config)
        task = Task(action="check", kind=kind, name=name, config=config)
        try:
            return CheckResult(success=True, message=in_own_process(task, self._settings), code=None)
        except ConnectorRefused as refused:
            return CheckResult(success=False, message=refused.detail, code=refused.context["cause"])
        except ConnectorTimedOut as error:
            return CheckResult(success=False, message=error.detail, code=error.code)

    def streams(self, name: str, config: Mapping[str, Any]) -> Sequence[Stream]:
        """Ask a source for its streams. Raises ConnectorRefused and ConnectorTimedOut."""
        parse_connector("source", name, config)
        task = Task(action="streams", kind="source", name=name, config=config)
        return [Stream(**found) for found in in_own_process(task, self._settings)]

    def preview(self, name: str, config: Mapping[str, Any], *, stream: str, limit: int) -> Preview:
        """Read a stream's first records, at most LARGEST_PREVIEW.

        Raises UnknownStream, ConnectorRefused and ConnectorTimedOut.
        """
        source = parse_connector("source", name, config)
        assert isinstance(source, Source), "the registry has found it among the sources"
        known = [known.name for known in source.known_streams()]
        if stream not in known and not source.dynamic_streams:
            detail = f"{source.title} has {', '.join(known)}."
            fault = FieldError(pointer="/stream", code=UnknownStream.code, detail=detail)
            raise UnknownStream(f"There is no such stream. {detail}", errors=[fault])
        limit = min(limit, LARGEST_PREVIEW)
        task = Task(action="preview", kind="source", name=name, config=config, stream=stream, limit=limit)
        return Preview(**in_own_process(task, self._settings))


def _cards(names: Sequence[str], find: Callable[[str], type[Connector]]) -> Iterator[ConnectorCard]:
    for name in names:
        try:
            yield _card(name, find(name))
        except Exception as error:  # a connector's own code may raise anything
            reason = error.detail if isinstance(error, HeadraceError) else type(error).__name__
            _LOG.warning("The connector %s is left out of the catalogue: %s", name, reason)


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
