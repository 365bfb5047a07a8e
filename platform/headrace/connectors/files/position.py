"""What an incremental read of files has read already: told by names and stamps, and long ago by times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.connectors import Cursor, Unreadable

_MOST_FILES = 2_000
_SPARE = 200  # how many more there may be before the oldest are dropped: sorting them costs time
_EXAMPLE = "2024-01-31T00:00:00Z"


class NoPosition(Unreadable):
    """The state is none that a read of files leaves, nor a time."""

    code = "source.no_file_position"
    title = "State cannot be used"
    hint = f"Set the state to a time such as {_EXAMPLE}: files changed from then on are read. Or reset it."


class Position:
    """Which files have been read.

    `files` holds their names and stamps: a file is new unless its stamp is there, whatever its time is. When
    there are more than 2,000, the oldest are dropped, and `since` is the oldest time that is left: what is
    older is done with. Files of the last `lookback` are never dropped, for such as appear after newer ones,
    nor are files of the future, whose times say nothing of others.
    """

    def __init__(self, cursor: Cursor | None, lookback: timedelta, now: datetime | None = None) -> None:
        self._lookback = lookback
        self._now = _text(now or datetime.now(UTC))
        self._since = ""
        self._files: dict[str, str] = {}
        if isinstance(cursor, str):
            self._since = _time(cursor)
        elif cursor is not None:
            self._since, self._files = _parts(cursor)
        self.was_in_the_future = self._since > self._now
        self._since = min(self._since, self._now)

    @property
    def cursor(self) -> Cursor:
        """The position as it is stored."""
        return {"since": self._since, "files": dict(self._files)}

    def is_new(self, name: str, modified: str, version: str = "") -> bool:
        """Whether a file has not been read, or was changed since."""
        known = self._files.get(name)
        if known is None:
            return modified >= self._since
        return known not in (modified, _stamp(modified, version))

    def add(self, name: str, modified: str, version: str = "") -> None:
        """Note that a file was read, and forget the oldest where there are too many."""
        self._files.pop(name, None)
        self._files[name] = _stamp(modified, version)
        if len(self._files) > _MOST_FILES + _SPARE:
            self._forget()

    def _forget(self) -> None:
        times = sorted(stamp.partition(" ")[0] for stamp in self._files.values())
        newest = max((time for time in times if time <= self._now), default="")
        if newest:
            self._since = max(self._since, min(times[-_MOST_FILES], _before(newest, self._lookback)))
        self._files = {name: stamp for name, stamp in self._files.items() if stamp >= self._since}


def _stamp(modified: str, version: str) -> str:
    return f"{modified} {version}" if version else modified


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
    return _text(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))


def _text(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='microseconds')[:26]}000Z"


def _before(time: str, by: timedelta) -> str:
    if not by:
        return time
    return _time((datetime.fromisoformat(time[:19] + "Z") - by).isoformat())
