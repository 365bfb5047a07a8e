"""Turns the events of a Dagster run into the lines of the run's log."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_EXCEPTION_CLASS = re.compile(r"^[A-Za-z_][\w.]*: ")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One message of a run's log. It may have several lines of text."""

    at: datetime
    level: str  # "DEBUG", "INFO", "WARNING", "ERROR" or "CRITICAL"
    message: str


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """A page of a run's log, oldest line first."""

    lines: tuple[LogLine, ...]
    cursor: str  # where the next page begins
    more: bool  # whether the next page has lines already
    ended: bool  # whether Dagster's run had ended before the page was read


def log_page(connection: Mapping[str, Any], *, ended: bool) -> LogPage:
    """Convert an `EventConnection` of Dagster's GraphQL schema."""
    lines = (_line(event) for event in connection["events"])
    return LogPage(
        lines=tuple(line for line in lines if line is not None),
        cursor=connection["cursor"],
        more=connection["hasMore"],
        ended=ended,
    )


def _line(event: Mapping[str, Any]) -> LogLine | None:
    """Return the event as a line, or None for Dagster's own bookkeeping."""
    message = _message(event)
    if message is None:
        return None
    at = datetime.fromtimestamp(int(event["timestamp"]) / 1000, UTC)
    return LogLine(at=at, level=event["level"], message=message)


def _message(event: Mapping[str, Any]) -> str | None:
    match event["__typename"]:
        case "LogMessageEvent":
            return str(event["message"])
        case "ExecutionStepFailureEvent":
            return _reason(event)
        case "RunFailureEvent" if "Steps failed" not in event["message"]:
            return _reason(event)
        case "EngineEvent" if event.get("error"):
            return f"{event['message']} {_cause(event['error']['message'].strip())}"
        case _:  # including a RunFailureEvent that only repeats the reason of its step
            return None


def _reason(event: Mapping[str, Any]) -> str:
    """Return why something failed, without the exception's class name."""
    error = event.get("error")
    if error is None:
        return str(event["message"])
    reason = str(error["message"]).strip()
    if reason.endswith("DagsterExecutionInterruptedError"):
        return "The run was told to stop."
    return _EXCEPTION_CLASS.sub("", reason)


def _cause(text: str) -> str:
    """Return the text of one of our own errors, which holds no secret; of any other error only its class."""
    return _EXCEPTION_CLASS.sub("", text) if text.startswith("headrace.") else f"({text.split(':')[0]})"
