"""What an incremental read of files has read already: told by times, and near the end by names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.connectors import Cursor, Unreadable

_EXAMPLE = "2024-01-31T00:00:00Z"


class NoPosition(Unreadable):
    """The state is none that a read of files leaves, nor a time."""

    code = "source.no_file_position"
    title = "State cannot be used"
    hint = f"Set the state to a time such as {_EXAMPLE}: files changed from then on are read. Or reset it."


class Position:
    """Which files have been read.

    `since` is a time: older files are done with. `files` holds the names and times of those that were read of
    that time or later, so that files of one and the same time, and such as appear up to `lookback` after
    files that are newer, are told apart.
    """

    def __init__(self, cursor: Cursor | None, lookback: timedelta) -> None:
        self._lookback = lookback
        self._since = ""
        self._files: dict[str, str] = {}
        if isinstance(cursor, str):
            self._since = _time(cursor)
        elif cursor is not None:
            self._since, self._files = _parts(cursor)

    @property
    def cursor(self) -> Cursor:
        """The position as it is stored."""
        return {"since": self._since, "files": self._files}

    def is_new(self, name: str, modified: str) -> bool:
        """Whether a file has not been read, or was changed since."""
        return modified >= self._since and self._files.get(name) != modified

    def add(self, name: str, modified: str) -> None:
        """Note that a file was read, and forget those that `since` makes superfluous."""
        files = self._files | {name: modified}
        self._since = max(self._since, _before(max(files.values()), self._lookback))
        self._files = {name: when for name, when in files.items() if when >= self._since}


def _parts(cursor: Any) -> tuple[str, dict[str, str]]:
    match cursor:
        case {"since": str(since), "files": dict(files)} if all(isinstance(t, str) for t in files.values()):
            return since, dict(files)
    raise NoPosition("The state is no position among files.")


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NoPosition(f"The state is no time such as {_EXAMPLE}.") from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06}000Z"


def _before(time: str, by: timedelta) -> str:
    if not by:
        return time
    return _time((datetime.fromisoformat(time[:19] + "Z") - by).isoformat())
