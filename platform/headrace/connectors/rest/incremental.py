"""What of a stream an incremental run asks for, and what of the answers is new."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

from headrace.connectors import Cursor, Unreadable
from headrace.connectors.contract.order import KINDS, NoPlace, kind_of, place
from headrace.connectors.rest.config import Incremental

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"unix": timedelta(seconds=1), "unix_ms": timedelta(milliseconds=1)}


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a stream after a cursor, or all of it.

    Records that are as old as the cursor are read again where the run asks for them: it knows which ones
    were delivered before.
    """

    spec: Incremental = field(default_factory=Incremental)
    cursor_field: str | None = None
    after: Cursor | None = None
    inclusive: bool = False
    cursor_type: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def start(self) -> str | int | float | None:
        """The cursor or, before there is one, the initial value, in the form that the API takes."""
        value = self.spec.initial_value if self.after is None else self.after
        return None if value is None else formatted(value, self.spec.format)

    @property
    def end(self) -> str | int | float:
        """The end value or the present moment, in the form that the API takes."""
        value = self.now.isoformat() if self.spec.end_value is None else self.spec.end_value
        return formatted(value, self.spec.format)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that bound the window."""
        bounds = {self.spec.start_param: self.start, self.spec.end_param: self.end}
        return {name: value for name, value in bounds.items() if name is not None and value is not None}

    @property
    def values(self) -> dict[str, Any]:
        """What the placeholders of the window stand for."""
        return {"incremental.start_value": self.start, "incremental.end_value": self.end}

    def new(self, records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return the records that an earlier run has not read; one whose age cannot be told is among them."""
        name = self.cursor_field
        if self.after is None or name is None:
            return records
        return [record for record in records if not self._is_old(record.get(name))]

    def is_behind(self, records: Sequence[dict[str, Any]]) -> bool:
        """Whether what follows these records is old for sure, where an API sends the newest first."""
        if not records or self.cursor_field is None:
            return False
        return self.after is not None and self._is_old(records[-1].get(self.cursor_field))

    def runs(self, records: Sequence[dict[str, Any]], before: Any, order: Literal["asc", "desc"]) -> bool:
        """Whether records after one with the cursor `before` are in an order; those without a cursor are."""
        found = [value for record in records if (value := self._value(record)) is not None]
        values = found if before is None else [before, *found]
        if len(values) < 2:
            return True
        try:
            kind = KINDS[self.cursor_type] if self.cursor_type else kind_of(values[0])
            places = [at for value in values if (at := place(value, kind)) is not None]
            return all(one <= other if order == "asc" else one >= other for one, other in pairwise(places))
        except (NoPlace, TypeError):
            return False

    def last(self, records: Sequence[dict[str, Any]]) -> Any:
        """Return the last cursor among records; None where none of them has one."""
        values = (self._value(record) for record in reversed(records))
        return next((value for value in values if value is not None), None)

    def _value(self, record: dict[str, Any]) -> Any:
        return None if self.cursor_field is None else record.get(self.cursor_field)

    def _is_old(self, value: Any) -> bool:
        try:
            kind = KINDS[self.cursor_type] if self.cursor_type else kind_of(self.after)
            found, cursor = place(value, kind), place(self.after, kind)
        except NoPlace:
            return False
        if found is None or cursor is None:
            return False
        return bool(found < cursor) if self.inclusive else bool(found <= cursor)


def formatted(value: Cursor, form: str) -> str | int | float:
    """Write a cursor in the form that a parameter takes, in UTC. Raises Unreadable when it is not a time.

    What the form has no digits for is cut off, never rounded up: a later time would leave records out.
    """
    if form == "iso" or (isinstance(value, int | float) and form.startswith("unix")):
        return value if isinstance(value, str | int | float) else str(value)
    moment = moment_of(str(value))
    if moment is None:
        raise Unreadable("The cursor is not an ISO 8601 time, so it cannot be formatted as one.")
    if form in _UNITS:
        return (moment - _EPOCH) // _UNITS[form]
    return moment.astimezone(UTC).strftime("%Y-%m-%d" if form == "date" else form)


def moment_of(text: str) -> datetime | None:
    """Return an ISO 8601 time, in UTC where it names no zone; None where the text is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
