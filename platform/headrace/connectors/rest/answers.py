"""Where an answer has its records, and whether it is an error that came with a status of success."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.connectors.kit.http.messages import Response
from headrace.connectors.rest.paths import MISSING, select, steps

Records = Sequence[dict[str, Any]]

_USUAL = ("data", "items", "results", "records", "entries", "value", "objects")
_ASIDE = frozenset({"errors", "warnings", "messages", "notices", "links", "_links", "included", "includes"})
_ERRORS = frozenset(
    {"error", "errors", "fault", "exception", "error_message", "errormessage", "error_code", "errorcode"}
    | {"error_description"}
)
_ENVELOPE = _ERRORS | frozenset(
    {"code", "status", "status_code", "statuscode", "message", "messages", "msg", "success", "ok", "detail"}
    | {"details", "type", "title", "reason", "path", "timestamp", "request_id", "requestid", "trace_id"}
    | {"documentation_url", "data", "result", "results"}
)
_MESSAGES = frozenset({"message", "msg", "detail"})
_FAILED = frozenset({"error", "fail", "failed", "failure"})
_NO_ERROR = frozenset({"", "0", "none", "null", "ok", "false", "success"})


class NoRecords(Unreadable):
    """The answer has nothing where its records should lie."""

    code = "source.no_records"
    title = "No records in the answer"
    hint = "Point data_selector to the list of records, or set it to '$' where the answer itself is a record."


class ErrorAnswer(Unreadable):
    """The server answered with an error in the place of records, and with a status of success."""

    code = "source.error_answer"
    title = "Answer is an error"
    hint = "Read what the server says, and compare the request with the API's documentation."


def guess(document: Any, label: str) -> str:
    """Return the path of the records: a usual name, the only list, or the answer. Raises NoRecords."""
    if isinstance(document, list) or document is None:
        return ""
    if not isinstance(document, dict):
        raise NoRecords(f"{label}: the answer is a plain value, and no list of records.")
    usual, likely = _usual(document), _likely(document)
    if not usual and len(likely) != 1:
        found = (
            f"several lists: {_listed(likely)}" if likely else f"no list of records; it has {_keys(document)}"
        )
        raise NoRecords(f"{label}: no data_selector is set, and the answer has {found}.")
    key = (usual or likely)[0]
    return f'["{key}"]' if "'" in key else f"['{key}']"


def document_of(answer: Response, selector: str | None) -> Any:
    """Return the answer's value; its records stay text where they are the list at a key, or the answer.

    Raises NotJSON.
    """
    path = None if selector is None else steps(selector)
    match path:
        case ():
            return answer.json_around(None)
        case (str(key),) if key != "*":
            return answer.json_around(key)
    return answer.json()


def selected(document: Any, selector: str, label: str) -> Sequence[Any]:
    """Return what lies at the selector: a list, or one record; null is an empty list. Raises NoRecords."""
    found = select(document, selector)
    if found is MISSING:
        raise NoRecords(f"{label}: the answer has nothing at {selector!r}; it has {_keys(document)}.")
    if found is None:
        return []
    return found if isinstance(found, list | JsonRecords) else [found]


def as_records(found: Sequence[Any]) -> Records:
    """Return records; plain values become records of one field."""
    if isinstance(found, JsonRecords) or all(type(record) is dict for record in found):
        return found
    return [record if isinstance(record, dict) else {"value": record} for record in found]


def is_error(document: Any, selector: str | None) -> bool:
    """Whether an answer is an error instead of records: it says so, and has none at the selector."""
    if not isinstance(document, dict):
        return False
    if selector is not None and steps(selector) == ():
        return _is_message(document)
    if not _says_error(document):
        return False
    if selector is None:
        return not any(document[key] for key in (*_usual(document), *_likely(document)))
    found = select(document, selector)
    return found is MISSING or not found


def has_errors(document: Any) -> bool:
    """Whether an answer names errors, beside whatever else it has."""
    return isinstance(document, dict) and any(
        key.lower() in _ERRORS and not _is_blank(value) for key, value in document.items()
    )


def _says_error(document: Mapping[str, Any]) -> bool:
    named = {key.lower(): value for key, value in document.items()}
    status = named.get("status")
    return (
        has_errors(document)
        or named.get("success") is False
        or named.get("ok") is False
        or (isinstance(status, str) and status.lower() in _FAILED)
    )


def _is_message(document: Mapping[str, Any]) -> bool:
    """Whether an answer is nothing but an error or a message, where a record might be."""
    keys = {key.lower() for key in document}
    if _says_error(document):
        return keys <= _ENVELOPE
    return bool(keys & _MESSAGES) and keys <= _ENVELOPE - {"data", "result", "results"}


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _NO_ERROR
    if isinstance(value, dict):
        return all(map(_is_blank, value.values()))
    return not value


def _usual(document: dict[str, Any]) -> list[str]:
    """The keys of lists that have a usual name."""
    return [key for key in _USUAL if isinstance(document.get(key), list)]


def _likely(document: dict[str, Any]) -> list[str]:
    """The keys of lists that may be records."""
    return [
        key
        for key, value in document.items()
        if isinstance(value, list)
        and key.lower() not in _ASIDE | _ERRORS
        and all(isinstance(item, dict) for item in value)
    ]


def _keys(document: Any) -> str:
    return _listed(list(document)[:10]) if isinstance(document, dict) and document else "no keys"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
