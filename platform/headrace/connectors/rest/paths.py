"""Paths into JSON documents: `results`, `data.items`, `$.pages[0].rows`, `groups[*].members`."""

import re
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from headrace.connectors.kit.arrow.json_text import JsonRecords

_STEP = re.compile(r"\[(\d+|\*|'[^']+'|\"[^\"]+\")\]|\.?([^.\[\]$]+)")
MISSING = object()
"""What `select` returns where the document has nothing at the path; null is something."""


@cache
def steps(path: str) -> tuple[str | int, ...]:
    """Split a path into keys, indexes and `*`, which stands for each item of a list. Raises ValueError."""
    rest = path.removeprefix("$")
    found: list[str | int] = []
    position = 0
    for match in _STEP.finditer(rest):
        if match.start() != position:
            break
        position = match.end()
        bracket, key = match.groups()
        found.append(int(bracket) if bracket and bracket.isdigit() else (bracket or key).strip("'\""))
    if position != len(rest):
        raise ValueError("not a path")
    return tuple(found)


def select(document: Any, path: str) -> Any:
    """Return the value at a path, or MISSING. With `[*]` it is the list of all values that are there.

    Where a list has items and none of them has the rest of the path, it is MISSING, too.
    """
    return _select(document, steps(path))


def _select(value: Any, path: tuple[str | int, ...]) -> Any:
    for position, step in enumerate(path):
        if step == "*" and isinstance(value, list | JsonRecords):
            found = [_select(item, path[position + 1 :]) for item in value]
            present = [item for item in found if item is not MISSING]
            if found and not present:
                return MISSING
            is_nested = all(isinstance(item, list) for item in present)
            return [item for items in present for item in items] if is_nested else present
        try:
            value = value[step]
        except (LookupError, TypeError):
            return MISSING
    return value


def _check(path: str) -> str:
    try:
        steps(path)
    except ValueError:
        raise PydanticCustomError(
            "path", "This is not a path such as 'data.items' or '$.pages[0]'."
        ) from None
    return path


JsonPath = Annotated[str, AfterValidator(_check)]
