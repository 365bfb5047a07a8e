"""A pipeline of a history, and what comes of a history."""

from collections import Counter
from dataclasses import dataclass, field

from steps import History, Step
from tables import PostgresSource, RestSource, Source, SqliteSource, Truth
from targets import Destination, DuckdbDestination, FileDestination, PostgresDestination, SqliteDestination
from watch import CursorWatch, DestinationWatch
from world import World


class GaveUp(Exception):
    """A request was not answered in all the time that it may take."""


@dataclass(kw_only=True)
class Line:
    """A pipeline of a history, with its source and its destination."""

    spec: Step
    name: str
    id: str
    source: Source
    destination: Destination
    truth: Truth
    watch: DestinationWatch
    cursor_watch: CursorWatch
    accepted: dict[str, int] = field(default_factory=dict)  # run: the source's state when it was accepted
    cancelled: set[str] = field(default_factory=set)  # runs of which a cancel was answered with 200
    is_deleted: bool = False
    is_complete: bool = True  # every request for a run was answered in the end


@dataclass(kw_only=True)
class Outcome:
    """What came of a history."""

    history: History
    problems: list[str]
    events: list[str]
    seconds: float
    ready_seconds: float = 0.0  # after the last fault, until the platform said that it was ready
    ended_seconds: float = 0.0  # after that, until every run had ended
    runs: Counter[str] = field(default_factory=Counter)  # how many ended how
    is_new: bool = True  # False: a history that was counted already, shortened or looked at later


def source_of(name: str, spec: Step, world: World) -> Source:
    """Make the source of a pipeline."""
    mode = spec["mode"]
    if spec["source"] == "postgres":
        return PostgresSource(f"{name}_source", mode, direct_url=world.data.url(), url=_data_url(world))
    if spec["source"] == "sqlite":
        return SqliteSource(f"{name}_source", mode, world.folder)
    return RestSource(f"{name}_source", mode, world.rest, seconds=spec["slow"])


def destination_of(name: str, spec: Step, world: World) -> Destination:
    """Return the destination of a pipeline."""
    if spec["destination"] == "postgres":
        return PostgresDestination(name, direct_url=world.data.url(), url=_data_url(world))
    if spec["destination"] == "sqlite":
        return SqliteDestination(name, world.disk)
    if spec["destination"] == "duckdb":
        return DuckdbDestination(name, world.disk)
    return FileDestination(name, spec["mode"], world.disk)


def _data_url(world: World) -> str:
    return world.data.url().replace(f":{world.data.port}/", f":{world.data_proxy.port}/")
