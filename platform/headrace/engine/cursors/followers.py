"""The highest cursor of what a run has read, and the rows that lie close to it."""

from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Cursor, Unreadable
from headrace.connectors.contract.order import Kind, below, distance, start_of_window
from headrace.connectors.kit.arrow.order import between, highest, value_of
from headrace.engine.cursors.row_hashes import row_hashes

MOST_HASHES = 100_000  # about a megabyte of state
_MOST_BYTES = 32 * 1024 * 1024  # of rows that wait to be hashed


class NoCursor(Unreadable):
    """The field to sync by is missing from the rows, or cannot be put in order."""

    code = "source.no_cursor"
    title = "Cannot sync by this field"
    hint = "Sync by a field that every row has and that only grows: a change time, a counter."


class TiesChanged(Unreadable):
    """More rows share the cursor than can be told apart, and their number has grown since the last run."""

    code = "source.ties_changed"
    title = "New rows cannot be told from old ones"
    hint = "Sync by a finer field, merge on a primary key, or reset the state to load the stream anew."


class Nearby:
    """The rows that must be known again: hashed, at most `MOST_HASHES`; beyond it they are only counted."""

    def __init__(self) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._hashes: Counter[bytes] = Counter()
        self.rows = 0

    @property
    def is_counted(self) -> bool:
        """Whether there are too many rows to know them by more than their number."""
        return self.rows > MOST_HASHES

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows in."""
        self.rows += rows.num_rows
        if self.is_counted:
            self._waiting, self._hashes = [], Counter()
            return
        self._waiting.append(rows)
        if sum(batch.nbytes for batch in self._waiting) > _MOST_BYTES:
            self.hashes()

    def hashes(self) -> "Counter[bytes]":
        """Return the rows' hashes; none where they are only counted."""
        for rows in self._waiting:
            self._hashes.update(row_hashes(rows))
        self._waiting = []
        return self._hashes


class Follower:
    """Follows the highest value of a column in the order of one kind, and the rows that tie with it.

    With a lookback it keeps the rows of the window that ends at the highest value.
    """

    def __init__(
        self, kind: Kind, lookback: float | None = None, start: Any = None, value: Cursor | None = None
    ) -> None:
        self.kind = kind
        self.highest = self._start = start
        self.value = value  # as JSON, in the form that the source gave it
        self._lookback = lookback
        self._ties = Nearby()
        self._window: list[tuple[pa.Array, pa.RecordBatch]] = []
        self._window_rows = 0
        self.floor_raised = False  # the window held more rows than can be known again
        self.floor: Any = self._lowest()

    def see(self, keys: pa.Array, column: pa.Array, batch: pa.RecordBatch) -> None:
        """Take a batch's rows into account; `keys` are the places of `column`. Raises NoCursor."""
        top = highest(keys)
        reached = value_of(top)
        if reached is None:
            return
        if self.highest is None or reached > self.highest:
            self.value = as_json(column[pc.index(keys, top).as_py()])
            self.highest = reached
            self.floor = max(self.floor, self._lowest()) if self.floor_raised else self._lowest()
            self._forget()
        elif reached < self.floor:
            return
        self._keep(keys, batch)

    def nearby(self) -> Nearby:
        """Return the rows that tie with the highest value, or lie in its window."""
        if self._lookback is None:
            return self._ties
        found = Nearby()
        for _, rows in self._window:
            found.add(rows)
        return found

    def window(self, known: float) -> float:
        """Return how far below the highest value all rows are known again: never beyond what was read.

        `known` is how far below the value that the read began with its rows were known or read.
        """
        reached = self.floor if self._start is None else below(self._start, self.kind, known)
        if not self.floor_raised and (self.highest is None or reached <= self.floor):
            return self._lookback or 0
        return distance(self.highest, max(self.floor, reached), self.kind)

    def _lowest(self) -> Any:
        if self._lookback is None or self.highest is None:
            return self.highest
        return start_of_window(self.value, self.highest, self.kind, self._lookback)

    def _keep(self, keys: pa.Array, batch: pa.RecordBatch) -> None:
        chosen = between(keys, self.floor)
        rows = batch.filter(chosen)
        if self._lookback is None:
            self._ties.add(rows)
            return
        self._window.append((keys.filter(chosen), rows))
        self._window_rows += rows.num_rows
        if self._window_rows > MOST_HASHES:
            self._raise_floor()

    def _forget(self) -> None:
        """Drop the rows that the window, or the highest value, has left behind."""
        if self._lookback is None:
            self._ties = Nearby()
            return
        kept = []
        for keys, rows in self._window:
            chosen = between(keys, self.floor)
            if pc.any(chosen).as_py():
                kept.append((keys.filter(chosen), rows.filter(chosen)))
        self._window = kept
        self._window_rows = sum(rows.num_rows for _, rows in kept)

    def _raise_floor(self) -> None:
        """Shorten the window to half as many rows as may be kept; to the ties alone where they are more."""
        values = sorted((value_of(key) for keys, _ in self._window for key in keys), reverse=True)
        kept = values[: MOST_HASHES // 2]
        self.floor = next((value for value in reversed(kept) if value > values[len(kept)]), self.highest)
        self.floor_raised = True
        self._forget()
        if self._window_rows > MOST_HASHES:
            for _, rows in self._window:
                self._ties.add(rows)
            self._lookback, self._window = None, []


def as_json(value: pa.Scalar) -> Cursor:
    """Write a cursor as JSON: times in ISO 8601, decimals as text. Raises NoCursor."""
    kind = value.type
    try:
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            return _nanoseconds(value)
        found = value.as_py()
    except (OverflowError, ValueError):
        raise NoCursor("The highest cursor is no time of the years 1 to 9999 in microseconds.") from None
    if isinstance(found, datetime | date):
        return found.isoformat()
    return str(found) if isinstance(found, Decimal) else found


def _nanoseconds(value: pa.Scalar) -> str:
    whole, rest = divmod(value.value, 1000)
    moment: datetime = pa.scalar(whole, pa.timestamp("us", value.type.tz)).as_py()
    if not rest:
        return moment.isoformat()
    text = moment.isoformat(timespec="microseconds")
    return f"{text[:26]}{rest:03d}{text[26:]}"
