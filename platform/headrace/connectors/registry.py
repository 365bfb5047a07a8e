"""Connector names to classes. Looking a name up imports that one connector's module, and nothing else."""

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal

from headrace.connectors.base import Destination, Source
from headrace.errors import Invalid

Kind = Literal["source", "destination"]

_BUILT_IN: dict[Kind, dict[str, str]] = {
    "source": {
        "dummy": "headrace.connectors.dummy:DummySource",
        "duckdb": "headrace.connectors.duckdb:DuckDBSource",
        "files": "headrace.connectors.files:FilesSource",
        "hubspot": "headrace.connectors.hubspot:HubspotSource",
        "postgres": "headrace.connectors.postgres:PostgresSource",
        "sqlite": "headrace.connectors.sqlite:SQLiteSource",
    },
    "destination": {
        "bigquery": "headrace.connectors.bigquery:BigQueryDestination",
        "duckdb": "headrace.connectors.duckdb:DuckDBDestination",
        "file": "headrace.connectors.file:FileDestination",
        "logger": "headrace.connectors.logger:LoggerDestination",
        "postgres": "headrace.connectors.postgres:PostgresDestination",
        "sqlite": "headrace.connectors.sqlite:SQLiteDestination",
    },
}


class UnknownConnector(Invalid):
    """No connector of that kind has that name."""

    code = "connector.unknown"
    title = "Unknown connector"
    hint = "List what is installed with `headrace connectors list` or GET /api/connectors/sources."

    def __init__(self, kind: Kind, name: str, names: tuple[str, ...]) -> None:
        close = get_close_matches(name, names, n=3)
        known = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"There is {', '.join(names)}."
        super().__init__(f"There is no {kind} {name!r}. {known}" if len(name) <= 100 else f"No such {kind}.")


class BrokenConnector(Invalid):
    """A connector's package is installed and cannot be imported, or is not a connector."""

    code = "connector.broken"
    title = "Connector cannot be used"
    hint = "Reinstall the package that provides the connector, with its extras."


def source(name: str) -> type[Source]:
    """Return a source's class. Raises UnknownConnector and BrokenConnector."""
    found = _import("source", name)
    if not issubclass(found, Source):
        raise BrokenConnector(f"What is installed as {name!r} is not a source.")
    return found


def destination(name: str) -> type[Destination]:
    """Return a destination's class. Raises UnknownConnector and BrokenConnector."""
    found = _import("destination", name)
    if not issubclass(found, Destination):
        raise BrokenConnector(f"What is installed as {name!r} is not a destination.")
    return found


def source_names() -> tuple[str, ...]:
    """Return the installed sources' names, in order, without importing one."""
    return tuple(sorted(_references("source")))


def destination_names() -> tuple[str, ...]:
    """Return the installed destinations' names, in order, without importing one."""
    return tuple(sorted(_references("destination")))


@cache
def _references(kind: Kind) -> dict[str, str]:
    """Every connector's `module:Class`. A built-in keeps its name: a package cannot take its secrets."""
    installed = {entry.name: entry.value for entry in entry_points(group=f"headrace.{kind}s")}
    return installed | _BUILT_IN[kind]


def _import(kind: Kind, name: str) -> type:
    references = _references(kind)
    if name not in references:
        raise UnknownConnector(kind, name, tuple(sorted(references)))
    module, _, attribute = references[name].partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BrokenConnector(f"The {kind} {name!r} cannot be imported.") from error
    return found if isinstance(found, type) else type(found)
