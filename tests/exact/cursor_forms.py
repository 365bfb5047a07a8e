"""The forms in which a source may write its cursor field: each a function of a position that never falls."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

_START = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a time without a zone
_ZONES = (dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30)), dt.timezone(-dt.timedelta(hours=8)))


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form, and what orders its values."""

    kind: str  # of the column
    write: Callable[[int], Any]
    order: Callable[[Any], Any]
    """From a value, also as a request or a stored cursor brings it back, to what compares."""
    span: Callable[[int], float]
    """How many units, or seconds, a number of positions spans at most."""


def _moment(position: int) -> dt.datetime:
    return _START + dt.timedelta(days=position // 3, seconds=position, microseconds=position % 2)


def _with_offset(position: int) -> str:
    moment = (_START + dt.timedelta(seconds=position // 2)).replace(tzinfo=dt.UTC)
    if position % 2:
        moment += dt.timedelta(microseconds=500_000)
    text = moment.astimezone(_ZONES[position % 3]).isoformat()
    return text.replace("+00:00", "Z") if position % 4 else text


def _instant(value: Any) -> dt.datetime:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = value.isoformat()
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _days(positions: int) -> float:
    return (positions // 3 + 1) * 86_400 + positions + 1


FORMS = {
    "integer": Form(kind="integer", write=lambda at: at, order=lambda v: Decimal(str(v)), span=float),
    "timestamp": Form(kind="timestamp", write=_moment, order=_instant, span=_days),
    "date": Form(kind="date", write=lambda at: _moment(at).date(), order=_instant, span=_days),
    "quoted": Form(kind="text", write=str, order=lambda v: Decimal(str(v)), span=float),
    "offsets": Form(kind="text", write=_with_offset, order=_instant, span=float),
    "rfc1123": Form(
        kind="text",
        write=lambda at: format_datetime(
            (_START + dt.timedelta(seconds=at)).replace(tzinfo=dt.UTC), usegmt=True
        ),
        order=parsedate_to_datetime,
        span=float,
    ),
}
COLUMN_FORMS = ("integer", "timestamp", "date")
TEXT_FORMS = ("quoted", "offsets", "rfc1123")
