"""The boundary of an incremental read: which rows are new, and what the next run must know.

A stream that is followed by a field has a cursor of this form, stored with the data:

    {"value": the highest value, "type": its order, "seen": the rows at it or in the lookback's window,
     "window": how far below the value they reach, "nulls": the rows without a place in the order,
     "ties", "null_rows": their numbers, where they are too many to be listed, "position": the source's own}

`seen` and `nulls` are hashes of the rows as the source gave them (`row_hashes`), in base64. Older releases
stored the value alone, and clients set it: where rows are appended, the rows at it count as delivered.
"""

import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Checkpoint, Cursor, ReadRequest, RunWarning
from headrace.connectors.contract.order import Kind, NoPlace, cursor_type, earlier, place, start_of_window
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.kit.arrow.order import between, plain
from headrace.engine.cursors.followers import MOST_HASHES, Follower, Nearby, NoCursor, TiesChanged
from headrace.engine.cursors.order import CursorOrder, fits
from headrace.engine.cursors.row_hashes import known_rows
from headrace.engine.cursors.state import Known, hashed


class Boundary:
    """Leaves out the rows that earlier runs have delivered, and follows what the next run must know.

    Without a field it lets every row pass, and its cursor is what the source's checkpoints say.
    """

    def __init__(
        self,
        field: str | None,
        stored: Cursor | None,
        *,
        declared: str | None = None,
        lookback: float | None = None,
        merges: bool = False,
        inclusive: bool = False,
        partial: bool = False,
        warn: Warn = log_warning,
        log: logging.Logger | None = None,
    ) -> None:
        self._field = field
        self._known = Known.read(stored) if field else Known(value=stored)
        self._plain = stored
        self._merges = merges
        self._lookback = lookback
        self._reads_ties = inclusive
        self._partial = partial  # a trial: rows near the cursor may not have been read
        self._warn = warn
        self._log = log or logging.getLogger("headrace.connector")
        self._type = declared or self._known.type
        self._order = CursorOrder(field or "", self._type if field else None, self._known.value, lookback)
        self._told_apart = False
        self._asked: Cursor | None = None
        self._seen, self._unseen_nulls = Counter(self._known.seen), Counter(self._known.nulls)
        self._nulls = Nearby()
        self._new_nulls = self._tied = self._rows = 0
        self._has_field = False
        self._checkpoint: Checkpoint | None = None

    def request(self, request: ReadRequest) -> ReadRequest:
        """Return the request with what it asks the source for, and say in the log what it cannot promise."""
        if self._field is None:
            return replace(request, cursor=self._known.value)
        self._announce()
        self._asked = self._start()
        return replace(
            request,
            cursor=self._asked,
            inclusive=self._known.value is not None and (self._merges or not self._known.is_bare),
            cursor_type=self._type,
            known_ties=self._known.ties,
            known_nulls=self._known.null_rows,
            lookback=self._lookback,
            merges=self._merges,
            position=self._known.position,
            told_apart=self._leave_nothing_out,
        )

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that no earlier run has delivered. Raises NoCursor."""
        if self._field is None or batch.num_rows == 0:
            return batch
        column = self._column(batch)
        keys = self._order.see(column, batch)
        dropped = [*self._old_nulls(keys, batch), *self._old_ties(keys, batch)]
        self._rows += batch.num_rows
        if not dropped:
            return batch
        gone = pa.array(dropped, pa.int64())
        return batch.filter(pc.invert(pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=gone)))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Take what the source says of its position."""
        self._checkpoint = checkpoint

    def cursor(self) -> Cursor | None:
        """Return what to store, once all was read. Raises NoCursor and TiesChanged."""
        said = self._checkpoint
        if self._field is None:
            return self._plain if said is None else said.cursor
        if self._rows and not self._has_field and self._known.value is None:
            raise NoCursor(f"The rows have no field {self._field!r} to sync by.")
        if said is not None and isinstance(said.cursor, dict | list):
            return said.cursor
        self._check_counts()
        self._tell_of_nulls()
        stored = self._ends(said)
        if stored["value"] is None and not stored.keys() & {"nulls", "null_rows", "position"}:
            return None
        is_bare = stored.keys() <= {"value", "type"}
        return self._plain if is_bare and stored["value"] == self._known.value else stored

    def _start(self) -> Cursor | None:
        """Return from where the source reads: the stored value, or the start of the lookback's window."""
        value, back = self._known.value, self._back()
        if not back or value is None:
            return value
        assert self._order.kind is not None, "there is a value"
        try:
            return earlier(value, self._order.kind, back)
        except NoPlace:
            raise self._order.no_lookback() from None

    def _leave_nothing_out(self) -> None:
        self._told_apart = True

    def _announce(self) -> None:
        """Say in the run's log what this read cannot promise."""
        if self._known.value is None:
            return
        if not self._reads_ties and not self._back():
            self._log.info(
                "The source gives what comes after the cursor alone. A row that comes later with the same "
                "value is not read; `lookback` reads it."
            )
        elif self._known.is_bare and not self._merges:
            detail = (
                "The cursor is a bare value, from a client, an older release or a source's checkpoint. The "
                "rows that share it are not known: this run reads what is greater."
            )
            self._warn(RunWarning(code="cursor.ties_unknown", detail=detail))

    def _back(self) -> float:
        """How far below the cursor to read: never below what the hashes cover, where rows are appended."""
        back = self._lookback or 0
        return back if self._merges or self._known.position else min(back, self._known.window)

    def _column(self, batch: pa.RecordBatch) -> pa.Array:
        assert self._field is not None
        if self._field not in batch.schema.names:
            return pa.nulls(batch.num_rows)
        self._has_field = True
        return plain(batch.column(self._field))

    def _old_nulls(self, keys: pa.Array, batch: pa.RecordBatch) -> list[int]:
        if not keys.null_count:
            return []
        places = pc.indices_nonzero(keys.is_null())
        rows = batch.take(places)
        self._nulls.add(rows)
        old: list[int] = []
        if self._told_apart:
            pass
        elif self._known.null_rows is not None or self._known.is_bare:
            # Too many to be known one by one, or unknown: those that a bare cursor's run has delivered.
            old = [] if self._merges else places.to_pylist()
        else:
            old = known_rows(self._unseen_nulls, places, rows)
        self._new_nulls += rows.num_rows - len(old)
        return old

    def _old_ties(self, keys: pa.Array, batch: pa.RecordBatch) -> list[int]:
        if self._told_apart or not (self._seen or self._known.ties is not None) or self._order.main is None:
            return []
        if keys.null_count == len(keys):
            return []
        kind = self._order.main.kind
        last = place(self._known.value, kind)
        low = start_of_window(self._known.value, last, kind, self._back()) if self._back() else last
        places = pc.indices_nonzero(between(keys, low, last))
        if not len(places):
            return []
        if self._known.ties is None:
            return known_rows(self._seen, places, batch.take(places))
        self._tied += len(places)
        return [] if self._merges else places.to_pylist()

    def _check_counts(self) -> None:
        if self._merges or self._told_apart:
            return
        for what, before, now in (
            ("share the last cursor's value", self._known.ties, self._tied),
            ("have no cursor", self._known.null_rows, self._nulls.rows),
        ):
            if before is not None and now > before:
                raise TiesChanged(
                    f"{now:,} rows {what}, {now - before:,} more than in the last run. They are too many to "
                    "know which of them are new."
                )

    def _tell_of_nulls(self) -> None:
        if self._new_nulls:
            detail = f"Rows without a value in {self._field!r}, or with infinity or NaN, are delivered " + (
                "by every run that reads them." if self._merges and self._nulls.is_counted else "once."
            )
            self._warn(RunWarning(code="cursor.null", detail=detail, count=self._new_nulls))

    def _ends(self, said: Checkpoint | None) -> dict[str, Any]:
        known, main = self._known, self._order.main
        value = known.value if main is None else main.value
        kind = main.kind if main else None
        ties = self._ties(main)
        if said is not None and said.cursor != value and (said.cursor is not None or said.position is None):
            if main is None or not _same(said.cursor, main.highest, main.kind):
                if known.value is not None and said.cursor == self._asked:  # the source stays where it was
                    return self._unmoved()
                ties = {}
            value = said.cursor
        stored: dict[str, Any] = {"value": value}
        if value is not None and kind is not None:
            stored["type"] = self._type or cursor_type(value, kind)
        elif self._type:
            stored["type"] = self._type
        stored |= ties | self._null_state()
        if said is not None and said.position is not None:
            stored["position"] = said.position
        return stored

    def _unmoved(self) -> dict[str, Any]:
        stored = self._plain if isinstance(self._plain, dict) else {"value": self._plain}
        return stored | self._null_state()

    def _ties(self, main: Follower | None) -> dict[str, Any]:
        known = self._known
        if main is None:
            numbers = {"ties": known.ties, "window": known.window or None}
            return hashed("seen", known.seen) | {n: held for n, held in numbers.items() if held is not None}
        near = main.nearby()
        unmoved = known.value is not None and not main.highest > place(known.value, main.kind)
        if unmoved and known.is_bare and not self._merges:
            return {}  # the rows that share the value are still unknown
        window = {"window": self._window(main)} if self._lookback else {}
        if near.is_counted or (unmoved and known.ties is not None):
            rows = near.rows or known.ties or 0
            exact = self._told_apart or self._merges or (self._checkpoint and self._checkpoint.position)
            if near.is_counted and not exact and rows != known.ties:
                self._warn_of_number(rows)
            return {"seen": "", "ties": rows}
        hashes = self._remembered(known.seen, near.hashes()) if unmoved else near.hashes()
        return {"seen": "", **hashed("seen", hashes)} | window

    def _window(self, main: Follower) -> float:
        if main.floor_raised:
            detail = (
                f"The lookback's window holds more than {MOST_HASHES:,} rows, so that it is shortened: rows "
                "that come late are found among the newest rows alone."
            )
            self._warn(RunWarning(code="cursor.lookback_shortened", detail=detail))
        lookback = self._lookback or 0
        reads_all = self._merges and not self._told_apart
        known = lookback if reads_all else min(lookback, self._known.window)
        return 0 if self._known.is_bare and not self._merges else main.window(known)

    def _warn_of_number(self, rows: int) -> None:
        detail = (
            "More rows share the cursor's last value than can be listed. They are known by their number "
            "alone, and the next run fails if there are more of them."
        )
        self._warn(RunWarning(code="cursor.ties_counted", detail=detail, count=rows))

    def _null_state(self) -> dict[str, Any]:
        known = self._known
        if known.null_rows is not None or self._nulls.is_counted:
            return {"null_rows": self._nulls.rows or known.null_rows or 0}
        return hashed("nulls", self._remembered(known.nulls, self._nulls.hashes()))

    def _remembered(self, before: "Counter[bytes]", read: "Counter[bytes]") -> "Counter[bytes]":
        """Return what to know of rows that this run may have read again: those that it has read, if all.

        A row that has changed is forgotten then, so that it is delivered if it ever changes back.
        """
        if self._told_apart:
            return before + read
        return read if self._reads_ties and not self._partial else before | read


def _same(value: Any, highest: Any, kind: Kind) -> bool:
    return fits(value, kind) and bool(place(value, kind) == highest)
