"""The order of a stream's cursor field: declared, stored by an earlier run, or found in the first values."""

from typing import Any

import pyarrow as pa

from headrace.connectors import Cursor
from headrace.connectors.contract.order import KINDS, Kind, NoPlace, kinds_of_texts, place
from headrace.connectors.kit.arrow.order import Misplaced, kind_of_type, places
from headrace.engine.cursors.followers import Follower, NoCursor

_SAMPLE = 1000  # texts that are looked at to tell what they are


class CursorMisplaced(NoCursor):
    """A record's cursor has no place in the order of the others."""

    code = "source.cursor_misplaced"
    title = "Cursor out of order"
    hint = "Correct the record, or declare the order with `cursor_type` in `source`: `text` orders anything."


class CursorOrder:
    """Puts a field's values in order and follows the highest.

    Text may have several orders until a value rules one out: the most specific one that is left counts.
    """

    def __init__(
        self, field: str, cursor_type: str | None, value: Cursor | None, lookback: float | None
    ) -> None:
        self._field = field
        self._type = cursor_type
        self._value = value
        self._lookback = lookback or None
        self._rows = 0
        self._followers = [self._follower(KINDS[cursor_type])] if cursor_type else []

    @property
    def main(self) -> Follower | None:
        """What follows the field in the order that counts; None before the first value."""
        return self._followers[0] if self._followers else None

    @property
    def kind(self) -> Kind | None:
        """The kind of the order that counts, or of the stored cursor before the first value."""
        if self._followers:
            return self._followers[0].kind
        return None if self._value is None else kinds_of_texts([str(self._value)])[0]

    def no_lookback(self) -> NoCursor:
        """Return the error of a field that a lookback cannot count in."""
        return NoCursor(f"A lookback needs numbers or times to count in, and {self._field!r} holds neither.")

    def see(self, column: pa.Array, batch: pa.RecordBatch) -> pa.Array:
        """Follow a batch's highest value; return the places of all in the order. Raises NoCursor."""
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
        self._rows += batch.num_rows
        return pa.nulls(len(column), pa.string()) if keys is None else keys

    def _detected(self, column: pa.Array) -> list[Follower]:
        """Return a follower for each order that the first values may have, the most specific one first."""
        try:
            own = kind_of_type(column.type)
            if own is not None:
                return [self._follower(own)]
            sample = column.drop_null()[:_SAMPLE].to_pylist()
            kinds = kinds_of_texts(sample) if sample else []
        except NoPlace:
            raise NoCursor(
                f"The values of {self._field!r} cannot be put in order: declare a `cursor_type`, or sync by "
                "another field."
            ) from None
        kinds = [kind for kind in kinds if self._value is None or fits(self._value, kind)]
        if self._lookback:
            kinds = [kind for kind in kinds if kind in ("number", "time")]
            if sample and not kinds:
                raise self.no_lookback()
        return [self._follower(kind) for kind in kinds]

    def _misplaced(self, error: Misplaced, kind: Kind) -> NoCursor:
        if error.index is None:
            return NoCursor(
                f"The values of {self._field!r} cannot be put in the order of {self._type or kind}."
            )
        return CursorMisplaced(
            f"Record {self._rows + error.index + 1:,} of this read has a value in {self._field!r} without a "
            f"place in the order of {self._type or kind}.",
            context={"rows": "1"},
        )

    def _follower(self, kind: Kind) -> Follower:
        try:
            start = place(self._value, kind)
        except NoPlace:
            message = (
                f"The stored cursor of {self._field!r} has no place in the order of {self._type or kind}."
            )
            raise NoCursor(message) from None
        if self._lookback and kind not in ("number", "time"):
            raise self.no_lookback()
        return Follower(kind, self._lookback, start, self._value)


def fits(value: Any, kind: Kind) -> bool:
    """Whether a value has a place in an order."""
    try:
        place(value, kind)
    except NoPlace:
        return False
    return True
