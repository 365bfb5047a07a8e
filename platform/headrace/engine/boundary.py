"""The boundary of an incremental read: which rows are new, and what the next run must know.

A stream that is followed by a field has a cursor of this form, stored with the data:

    {"value": the highest value, "type": its order, "seen": the rows at it or in the lookback's window,
     "window": how far below the value they reach, "nulls": the rows without a place in the order,
     "ties", "null_rows": their numbers, where they are too many to be listed, "position": the source's own}

`seen` and `nulls` are hashes of the rows as the source gave them (`row_hashes`), in base64. A bare value, which
older releases have stored and clients set, is known to be delivered itself where rows are appended.
"""

import logging
from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Checkpoint, Cursor, ReadRequest, RunWarning, Unreadable
from headrace.connectors.contract.order import (
    KINDS,
    SECOND,
    Kind,
    NoPlace,
    below,
    cursor_type,
    earlier,
    place,
)
from headrace.connectors.contract.order import kinds_of_texts as kinds_of
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.kit.arrow.order import Misplaced, between, kind_of_type, places, plain
from headrace.engine.cursors import MOST_HASHES, Follower, Nearby, NoCursor
from headrace.engine.row_hashes import packed, row_hashes, unpacked

_SAMPLE = 1000  # texts that are looked at to tell what they are


class CursorMisplaced(NoCursor):
    """A record's cursor has no place in the order of the others."""

    code = "source.cursor_misplaced"
    title = "Cursor out of order"
    hint = "Correct the record, or declare the order with `cursor_type` in `source`: `text` orders anything."


class TiesChanged(Unreadable):
    """More rows share the cursor than can be told apart, and their number has grown since the last run."""

    code = "source.ties_changed"
    title = "New rows cannot be told from old ones"
    hint = "Sync by a finer field, merge on a primary key, or reset the state to load the stream anew."


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the last run has stored of a stream that is followed by a field."""

    value: Cursor | None = None
    type: str | None = None
    seen: "Counter[bytes]" = field(default_factory=Counter)
    nulls: "Counter[bytes]" = field(default_factory=Counter)
    ties: int | None = None
    null_rows: int | None = None
    window: float = 0
    position: dict[str, Any] | None = None
    is_bare: bool = False

    @classmethod
    def read(cls, stored: Cursor | None) -> "Known":
        """Read a stored cursor of any release."""
        if not isinstance(stored, dict) or "value" not in stored:
            return cls(value=stored, is_bare=stored is not None)
        try:
            hashes = {name: unpacked(b64decode(stored.get(name, ""))) for name in ("seen", "nulls")}
        except (TypeError, ValueError):
            raise NoCursor("The stored cursor is damaged: its hashes are not base64.") from None
        return cls(
            value=stored["value"],
            type=stored.get("type"),
            seen=hashes["seen"],
            nulls=hashes["nulls"],
            ties=stored.get("ties"),
            null_rows=stored.get("null_rows"),
            window=stored.get("window", 0),
            position=stored.get("position"),
            is_bare=stored.keys() <= {"value", "type"} and stored["value"] is not None,
        )


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
        self._followers: list[Follower] = []
        self._told_apart = False
        self._asked: Cursor | None = None
        self._seen, self._unseen_nulls = Counter(self._known.seen), Counter(self._known.nulls)
        self._nulls = Nearby()
        self._new_nulls = self._tied = self._rows = 0
        self._has_field = False
        self._checkpoint: Checkpoint | None = None
        if self._field and self._type:
            self._followers = [self._follower(KINDS[self._type])]

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

    # The rows

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows that no earlier run has delivered. Raises NoCursor."""
        if self._field is None or batch.num_rows == 0:
            return batch
        column = self._column(batch)
        keys = self._see(column, batch)
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

    # Details

    def _start(self) -> Cursor | None:
        """Return from where the source reads: the stored value, or the start of the lookback's window."""
        value, back = self._known.value, self._back()
        if not back or value is None:
            return value
        kind = self._followers[0].kind if self._followers else _kinds([value])[0]
        try:
            return earlier(value, kind, back)
        except NoPlace:
            raise self._no_lookback() from None

    def _leave_nothing_out(self) -> None:
        self._told_apart = True

    def _announce(self) -> None:
        """Say in the run's log what this read cannot promise."""
        if self._known.value is None:
            return
        if not self._reads_ties and not self._back():
            self._log.info(
                "The source gives what comes after the cursor alone. A row that comes later with the cursor's "
                "own value is not read; `lookback` reads it."
            )
        elif self._known.is_bare and not self._merges:
            detail = (
                "The cursor is a bare value, from a client, an older release or a source's checkpoint, so the rows that share its value are not "
                "known: this run reads what is greater."
            )
            self._warn(RunWarning(code="cursor.ties_unknown", detail=detail))

    def _back(self) -> float:
        """How far below the cursor to read: never below what the hashes cover, where rows are appended."""
        back = self._lookback or 0
        return back if self._merges or self._known.position else min(back, self._known.window)

    def _no_lookback(self) -> NoCursor:
        return NoCursor(f"A lookback needs numbers or times to count in, and {self._field!r} holds neither.")

    def _follower(self, kind: Kind) -> Follower:
        try:
            start = place(self._known.value, kind)
        except NoPlace:
            message = (
                f"The stored cursor of {self._field!r} has no place in the order of {self._type or kind}."
            )
            raise NoCursor(message) from None
        if self._lookback and kind not in ("number", "time"):
            raise self._no_lookback()
        return Follower(kind, self._lookback or None, start, self._known.value)

    def _column(self, batch: pa.RecordBatch) -> pa.Array:
        assert self._field is not None
        if self._field not in batch.schema.names:
            return pa.nulls(batch.num_rows)
        self._has_field = True
        return plain(batch.column(self._field))

    def _see(self, column: pa.Array, batch: pa.RecordBatch) -> pa.Array:
        """Follow the column's highest value and return its places in the order."""
        if not self._followers:
            self._followers = self._detected(column)
        keys = None
        for follower in list(self._followers):
            try:
                found = places(column, follower.kind)
            except Misplaced as error:
                if len(self._followers) == 1:
                    raise self._misplaced(error, follower.kind) from None
                self._followers.remove(follower)
                continue
            follower.see(found, column, batch)
            keys = found if keys is None else keys
        return pa.nulls(len(column), pa.string()) if keys is None else keys

    def _detected(self, column: pa.Array) -> list[Follower]:
        """Return a follower for each order that the first values may have, the most specific one first."""
        try:
            own = kind_of_type(column.type)
            if own is not None:
                return [self._follower(own)]
            sample = column.drop_null()[:_SAMPLE].to_pylist()
            kinds = _kinds(sample) if sample else []
        except NoPlace:
            raise NoCursor(
                f"The values of {self._field!r} cannot be put in order: declare a `cursor_type`, or sync by "
                "another field."
            ) from None
        kinds = [kind for kind in kinds if self._known.value is None or _fits(self._known.value, kind)]
        if self._lookback:
            kinds = [kind for kind in kinds if kind in ("number", "time")]
            if sample and not kinds:
                raise self._no_lookback()
        return [self._follower(kind) for kind in kinds]

    def _misplaced(self, error: Misplaced, kind: Kind) -> NoCursor:
        if error.index is None:
            return NoCursor(
                f"The values of {self._field!r} cannot be put in the order of {self._type or kind}."
            )
        return CursorMisplaced(
            f"Record {self._rows + error.index + 1:,} of this read has a value in {self._field!r} that has no "
            f"place in the order of {self._type or kind}."
        )

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
            old = _known_rows(self._unseen_nulls, places, rows)
        self._new_nulls += rows.num_rows - len(old)
        return old

    def _old_ties(self, keys: pa.Array, batch: pa.RecordBatch) -> list[int]:
        if self._told_apart or not (self._seen or self._known.ties is not None) or not self._followers:
            return []
        if keys.null_count == len(keys):
            return []
        kind = self._followers[0].kind
        last = place(self._known.value, kind)
        low = below(last, kind, self._back()) if self._back() else last
        places = pc.indices_nonzero(between(keys, low, last))
        if not len(places):
            return []
        if self._known.ties is None:
            return _known_rows(self._seen, places, batch.take(places))
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
                    f"{now:,} rows {what}, {now - before:,} more than in the last run: too many to know which "
                    "of them are new."
                )

    def _tell_of_nulls(self) -> None:
        if self._new_nulls:
            detail = f"Rows without a value in {self._field!r}, or with infinity or NaN, are delivered " + (
                "by every run that reads them." if self._merges and self._nulls.is_counted else "once."
            )
            self._warn(RunWarning(code="cursor.null", detail=detail, count=self._new_nulls))

    def _ends(self, said: Checkpoint | None) -> dict[str, Any]:
        known, main = self._known, self._followers[0] if self._followers else None
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
            return _hashed("seen", known.seen) | ({"ties": known.ties} if known.ties is not None else {})
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
        return {"seen": "", **_hashed("seen", hashes)} | window

    def _window(self, main: Follower) -> float:
        if not main.floor_raised:
            return self._lookback or 0
        detail = (
            f"The lookback's window holds more than {MOST_HASHES:,} rows, so that it is shortened: rows that "
            "come late are found among the newest rows alone."
        )
        self._warn(RunWarning(code="cursor.lookback_shortened", detail=detail))
        back = main.highest - main.floor
        return float(back / SECOND) if main.kind == "time" else float(back)

    def _warn_of_number(self, rows: int) -> None:
        detail = (
            "More rows share the cursor's last value than can be listed: they are known by their number alone, "
            "and the next run fails if there are more of them."
        )
        self._warn(RunWarning(code="cursor.ties_counted", detail=detail, count=rows))

    def _null_state(self) -> dict[str, Any]:
        known = self._known
        if known.null_rows is not None or self._nulls.is_counted:
            return {"null_rows": self._nulls.rows or known.null_rows or 0}
        return _hashed("nulls", self._remembered(known.nulls, self._nulls.hashes()))

    def _remembered(self, before: "Counter[bytes]", read: "Counter[bytes]") -> "Counter[bytes]":
        """Return what to know of rows that this run may have read again: what it read, if it read all of them.

        A row that has changed is forgotten then, so that it is delivered if it ever changes back.
        """
        if self._told_apart:
            return before + read
        return read if self._reads_ties and not self._partial else before | read


def _kinds(sample: list[Any]) -> list[Kind]:
    texts = [value if isinstance(value, str) else str(value) for value in sample]
    return kinds_of(texts)


def _fits(value: Any, kind: Kind) -> bool:
    try:
        place(value, kind)
    except NoPlace:
        return False
    return True


def _same(value: Any, highest: Any, kind: Kind) -> bool:
    return _fits(value, kind) and bool(place(value, kind) == highest)


def _known_rows(known: "Counter[bytes]", places: pa.Array, rows: pa.RecordBatch) -> list[int]:
    """Return the places of rows that are among the known ones, and take them from there."""
    old = []
    for index, digest in zip(places.to_pylist(), row_hashes(rows), strict=True):
        if known[digest] > 0:
            known[digest] -= 1
            old.append(index)
    return old


def _hashed(name: str, hashes: "Counter[bytes]") -> dict[str, Any]:
    return {name: b64encode(packed(hashes)).decode()} if hashes else {}
