"""JSON by RFC 8259, restricted to I-JSON (RFC 7493): whatever parsers may read differently is refused."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from headrace.errors import FieldError
from headrace_api.http.problems import HttpError

DEEPEST = 100
_BLANK = b" \t\r\n"
_LARGEST = 2**63
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LAYOUT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Path = tuple[str | int, ...]


class MalformedJson(HttpError):
    """The body is not JSON, or is JSON that two parsers may read differently."""

    code = "request.malformed_json"
    title = "Malformed JSON"
    hint = "Send one JSON document in UTF-8, without a byte order mark or duplicate keys."
    status = 400


def parse(raw: bytes) -> Any:
    """Return the document in `raw`.

    Integers fit 64 bits, floats are finite, keys are unique, strings are Unicode, and there are at most
    `DEEPEST` levels of nesting. Raises MalformedJson, whose text quotes nothing from the document.
    """
    if not raw.strip(_BLANK):
        _refuse("The body is empty.")
    if raw.startswith(codecs.BOM_UTF8):
        _refuse("The body begins with a byte order mark.")
    document = _loaded(raw)
    for path, value in _nodes(document):
        if isinstance(value, str) and _SURROGATE.search(value):
            _refuse("A string holds an unpaired surrogate.")
        if isinstance(value, dict | list) and len(path) >= DEEPEST:
            _refuse(f"The document is nested deeper than {DEEPEST} levels.")
    return document


def control_characters(document: Any) -> list[FieldError]:
    """Return an error for each key and each string that holds a control character.

    Values below `/config` may hold tabs and line breaks, as PEM keys and SQL queries do.
    """
    faults = []
    for path, value in _nodes(document):
        allowed = path[:1] == ("config",) and not isinstance(value, _Key)
        if isinstance(value, str) and (_CONTROL_BUT_LAYOUT if allowed else _CONTROL).search(value):
            what = "key" if isinstance(value, _Key) else "text"
            detail = f"The {what} holds a control character."
            faults.append(FieldError(pointer=pointer(path), code="field.control_character", detail=detail))
    return faults


def pointer(path: Path) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class _Key(str):
    """Marks a key among the strings that `_nodes` yields."""

    __slots__ = ()


def _nodes(document: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the objects, arrays, strings and keys of a document, each with its path."""
    pending: list[tuple[Path, Any]] = [((), document)]
    while pending:
        path, value = pending.pop()
        yield path, value
        if isinstance(value, dict):
            for key, inner in value.items():
                yield (*path, key), _Key(key)
                if isinstance(inner, dict | list | str):
                    pending.append(((*path, key), inner))
        elif isinstance(value, list):
            nested = enumerate(value)
            pending.extend(((*path, i), inner) for i, inner in nested if isinstance(inner, dict | list | str))


def _loaded(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=lambda name: _refuse(f"{name} is not a JSON number."),
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        detail = "The body is not UTF-8."
    except RecursionError:
        detail = f"The document is nested deeper than {DEEPEST} levels."
    except json.JSONDecodeError as error:
        detail = f"The body is not JSON: {error.msg}, at line {error.lineno}, column {error.colno}."
    # Outside the except clauses, so that the exceptions, which hold the body, are not chained.
    raise MalformedJson(detail)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("An object has the same key twice.")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse("A number is too large.")
    return number


def _integer(text: str) -> int:
    # The length first: `int` takes quadratic time on long digit strings.
    if len(text) > 20 or not -_LARGEST <= int(text) < _LARGEST:
        _refuse("A number is too large.")
    return int(text)


def _refuse(detail: str) -> NoReturn:
    raise MalformedJson(detail)
