"""Placeholders in a request: `{resources.users.id}`, `{incremental.start_value}`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from headrace.connectors import Unreadable

_PLACEHOLDER = re.compile(r"\{((?:resources|incremental)\.[^{}]+)\}")


def placeholders(value: Any) -> Iterator[str]:
    """Yield the name of each placeholder inside a JSON value."""
    if isinstance(value, str):
        yield from _PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from placeholders(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from placeholders(inner)


def filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Copy a JSON value with placeholders and secrets replaced by what they stand for.

    A text that is one placeholder becomes the value itself, a number a number. Raises Unreadable where
    nothing is known under a name.
    """
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return _known(values, whole[1])
        return _PLACEHOLDER.sub(lambda match: str(_known(values, match[1])), value)
    if isinstance(value, Mapping):
        return {key: filled(inner, values) for key, inner in value.items()}
    return [filled(inner, values) for inner in value] if isinstance(value, list | tuple) else value


def filled_path(path: str, values: Mapping[str, Any]) -> str:
    """Return a path with its placeholders' values, each of which stays within its own segment."""
    return _PLACEHOLDER.sub(lambda match: _segment(str(_known(values, match[1]))), path)


def _segment(text: str) -> str:
    # `.` and `..` would be resolved away and lead elsewhere.
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _known(values: Mapping[str, Any], name: str) -> Any:
    if values.get(name) is None:
        raise Unreadable(f"There is no value for the placeholder {{{name}}}.")
    return values[name]
