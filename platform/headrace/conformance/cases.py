"""What the suite is run on, and how a check says what it found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from headrace.connectors import Destination, Source


@dataclass(frozen=True, kw_only=True)
class SourceCase:
    """A configured source with rows in `stream` that stay as they are while the suite runs."""

    connector: Source
    stream: str
    cursor_field: str | None = None  # to sync by, where the stream has no field of its own


@dataclass(frozen=True, kw_only=True)
class DestinationCase:
    """A configured destination whose tables the suite may make and replace: `conformance_...`."""

    connector: Destination
    rows: Callable[[str], Sequence[Mapping[str, Any]]] | None = None
    """Returns the rows of a table with their column `id`; without it what is stored is not compared."""


Case = SourceCase | DestinationCase
C = TypeVar("C", contravariant=True)
Check = Callable[[C, Path], None]
"""Looks at a case, given an empty folder. Raises Broken and NotApplicable, and what the connector raises."""


class Broken(AssertionError):
    """The connector breaks a promise; the text says which, and how."""


class NotApplicable(Exception):
    """The check has nothing to look at; the text says why."""


def require(kept: bool, broken: str) -> None:
    """Raise Broken with the sentence unless the promise is kept."""
    if not kept:
        raise Broken(broken)
