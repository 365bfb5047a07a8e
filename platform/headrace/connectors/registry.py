"""Connector names to classes. Looking a name up imports that one connector's module, and nothing else.

A built-in's name comes before a package's, and that before one in the local folder: none takes another's
secrets.
"""

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, TypeVar

from headrace.connectors import Connector, Destination, Source, local
from headrace.errors import Invalid

Kind = Literal["source", "destination"]
K = TypeVar("K", bound=Connector)

_BUILT_IN: dict[Kind, dict[str, str]] = {
    "source": {
        "dlt": "headrace.connectors.dlt.connector:DltSource",
        "dummy": "headrace.connectors.dummy:DummySource",
        "duckdb": "headrace.connectors.duckdb.connector:DuckDBSource",
        "files": "headrace.connectors.files.connector:FilesSource",
        "gbif": "headrace.connectors.apis.gbif:GbifSource",
        "hubspot": "headrace.connectors.apis.hubspot.connector:HubspotSource",
        "mysql": "headrace.connectors.mysql.connector:MySQLSource",
        "notion": "headrace.connectors.apis.notion.connector:NotionSource",
        "pokeapi": "headrace.connectors.apis.pokeapi:PokeapiSource",
        "postgres": "headrace.connectors.postgres.connector:PostgresSource",
        "rest": "headrace.connectors.rest.connector:RestSource",
        "python": "headrace.connectors.python.connector:PythonSource",
        "sqlite": "headrace.connectors.sqlite.connector:SQLiteSource",
    },
    "destination": {
        "bigquery": "headrace.connectors.bigquery.connector:BigQueryDestination",
        "bigquery_streaming": "headrace.connectors.bigquery.connector:BigQueryStreamingDestination",
        "bigquery_streaming_v2": "headrace.connectors.bigquery.connector:BigQueryStreamingV2Destination",
        "dlt": "headrace.connectors.dlt.connector:DltDestination",
        "duckdb": "headrace.connectors.duckdb.connector:DuckDBDestination",
        "file": "headrace.connectors.file.connector:FileDestination",
        "logger": "headrace.connectors.logger:LoggerDestination",
        "mysql": "headrace.connectors.mysql.connector:MySQLDestination",
        "postgres": "headrace.connectors.postgres.connector:PostgresDestination",
        "sqlite": "headrace.connectors.sqlite.connector:SQLiteDestination",
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
    """Return a source's class. Raises UnknownConnector, BrokenConnector and BrokenFile."""
    return _find("source", name, Source)  # type: ignore[type-abstract]


def destination(name: str) -> type[Destination]:
    """Return a destination's class. Raises UnknownConnector, BrokenConnector and BrokenFile."""
    return _find("destination", name, Destination)  # type: ignore[type-abstract]


def source_names() -> tuple[str, ...]:
    """Return the sources' names, in order; only files of the local folder are imported."""
    return tuple(sorted(_references("source").keys() | local.folder().names(Source)))


def destination_names() -> tuple[str, ...]:
    """Return the destinations' names, in order; only files of the local folder are imported."""
    return tuple(sorted(_references("destination").keys() | local.folder().names(Destination)))


def is_installed(kind: Kind, name: str) -> bool:
    """Whether Headrace itself or a package brings a connector of that name."""
    return name in _references(kind)


@cache
def _references(kind: Kind) -> dict[str, str]:
    """The `module:Class` of every connector that is built in or installed."""
    installed = {entry.name: entry.value for entry in entry_points(group=f"headrace.{kind}s")}
    return installed | _BUILT_IN[kind]


def _find(kind: Kind, name: str, base: type[K]) -> type[K]:
    if is_installed(kind, name):
        return _import(kind, name, base)
    found = local.folder().find(name, base)
    if found is None:
        raise UnknownConnector(kind, name, source_names() if kind == "source" else destination_names())
    return found


def _import(kind: Kind, name: str, base: type[K]) -> type[K]:
    module, _, attribute = _references(kind)[name].partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BrokenConnector(f"The {kind} {name!r} cannot be imported.") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise BrokenConnector(f"What is installed as {name!r} is not a {kind}.")
    return found
