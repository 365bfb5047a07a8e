"""The order of cursor values: by what they mean, not by how they are written.

Numbers in quotes are numbers, and times are instants whatever their form and offset. A time without a zone is
taken as UTC, and a date as its midnight. Infinity and NaN have no place in the order.
"""

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Literal, get_args

CursorType = Literal["integer", "decimal", "timestamp", "date", "uuid", "text"]
Kind = Literal["number", "time", "uuid", "text"]
KINDS: dict[str, Kind] = {
    "integer": "number", "decimal": "number", "timestamp": "time", "date": "time", "uuid": "uuid",
    "text": "text",
}  # fmt: skip
CURSOR_TYPES: tuple[str, ...] = get_args(CursorType)
_MICROSECONDS = 1_000_000  # in a second: what a lookback is counted in
SECOND = 1_000_000_000  # a place in time is a number of nanoseconds since 1970, in UTC
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"([.,])(\d{6})(\d+)")
_LOOKS_LIKE_TIME = re.compile(r"\d{4}-?\d\d-?\d\d([T ]|$)|\d{4}-?W\d\d|\d{4}/\d\d?/\d\d?([T ]|$)")
_RFC_1123 = re.compile(r"([A-Za-z]{3,9}, ?)?\d{1,2}[ -][A-Za-z]{3}[ -]\d{2,4} \d\d:\d\d(:\d\d)?( .*)?")
_AMBIGUOUS = re.compile(
    r"\d{1,2}([/.-])\d{1,2}\1\d{2,4}\b.*|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}\b.*|\d{1,2} [A-Za-z]{3,9} \d{4}"
)
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?\s*")
_SPECIAL = re.compile(r"\s*[+-]?(inf(inity)?|s?nan)\s*", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{32}")


class NoPlace(ValueError):
    """A value has no place in the order of a kind: it is not a number, or not a time."""


def place(value: Any, kind: Kind) -> Any:
    """Return what to order a value by; None for null, infinity and NaN. Raises NoPlace."""
    if value is None:
        return None
    if kind == "number":
        return _number(value)
    if kind == "time":
        return _instant(value)
    if kind == "uuid":
        return _uuid(value)
    if isinstance(value, bool | dict | list | bytes):
        raise NoPlace
    return value if isinstance(value, str) else str(value)


def kind_of(value: Any) -> Kind:
    """Return the kind that a single value is of. Raises NoPlace where it is of none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str | date):
        raise NoPlace
    if not isinstance(value, str):
        return "time" if isinstance(value, date) else "number"
    return next(kind for kind in kinds_of_texts([value]) if _fits(value, kind))


def kinds_of_texts(values: list[str]) -> list[Kind]:
    """Return the kinds that a sample of texts may be of, the most specific one first; "text" is the last.

    Raises NoPlace for dates of which nobody can tell the day from the month, or that are written in words:
    in the order of their text a later one may come first.
    """
    if any(_AMBIGUOUS.fullmatch(value.strip()) for value in values[:1]):
        raise NoPlace
    found: list[Kind] = ["number", "time", "uuid"]
    return [kind for kind in found if all(_fits(value, kind) for value in values)] + ["text"]


def cursor_type(value: Any, kind: Kind) -> CursorType:
    """Name the type that is stored with a cursor."""
    if kind == "number":
        whole = isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdigit())
        return "integer" if whole else "decimal"
    if kind == "time":
        return "date" if len(str(value)) == len("2024-01-01") else "timestamp"
    return kind


def below(position: Any, kind: Kind, lookback: float) -> Any:
    """Return the place that is `lookback` units, or seconds of time, below another."""
    if kind == "time":
        return position - round(lookback * _MICROSECONDS) * 1000
    if isinstance(position, float):
        return position - lookback
    return position - (int(lookback) if lookback == int(lookback) else Decimal(str(lookback)))


def distance(high: Any, low: Any, kind: Kind) -> float:
    """Return how many units, or seconds of time, lie between two places: less rather than more."""
    if kind == "time":  # `earlier` counts microseconds, and cuts what a value has beyond them
        return float(max((high - low) // 1000 - 1, 0)) / _MICROSECONDS
    exact = Decimal(str(high)) - Decimal(str(low))
    found = float(exact)
    return found if Decimal(str(found)) <= exact else math.nextafter(found, -math.inf)


def start_of_window(value: Any, position: Any, kind: Kind, lookback: float) -> Any:
    """Return the place from which a source reads that is asked for what is `earlier` than a value."""
    try:
        return min(below(position, kind, lookback), place(earlier(value, kind, lookback), kind))
    except NoPlace:
        return below(position, kind, lookback)


def earlier(value: Any, kind: Kind, lookback: float) -> Any:
    """Return a value of the same form that is `lookback` units, or seconds of time, lower. Raises NoPlace."""
    if kind == "number":
        lower = Decimal(str(value)) - Decimal(str(lookback))
        if isinstance(value, str):
            return str(lower)
        return int(lower) if lower == int(lower) else float(lower)
    if kind != "time" or not isinstance(value, str):
        raise NoPlace
    moment = _parsed(value)
    if moment is None:
        raise NoPlace
    try:
        moment -= timedelta(seconds=lookback)
    except OverflowError:
        moment = datetime.min.replace(tzinfo=moment.tzinfo)
    return _written(moment, like=value)


def _fits(value: str, kind: Kind) -> bool:
    try:
        place(value, kind)
    except NoPlace:
        return False
    return True


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise NoPlace
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if _SPECIAL.fullmatch(value):
            return None
        if not _NUMBER.fullmatch(value):
            raise NoPlace
        value = Decimal(value.strip())
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    raise NoPlace


def _uuid(value: Any) -> str:
    text = str(value).strip().lower().removeprefix("urn:uuid:").strip("{}").replace("-", "")
    if not _UUID.fullmatch(text):
        raise NoPlace
    return text


def _instant(value: Any) -> int:
    extra = 0
    if isinstance(value, str):
        extra = _nanoseconds(value)
        moment = _parsed(value)
        if moment is None:
            raise NoPlace
    elif isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise NoPlace
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000 + extra


def _nanoseconds(text: str) -> int:
    """Return the nanoseconds after the last whole microsecond, which Python's times have no place for."""
    found = _FRACTION.search(text)
    return int(found[3][:3].ljust(3, "0")) if found else 0


def _parsed(text: str) -> datetime | None:
    text = text.strip()
    if _LOOKS_LIKE_TIME.match(text):
        if "/" in text:
            year, month, rest = text.split("/", 2)
            text = f"{year}-{month:0>2}-{rest if rest[1:2].isdigit() else '0' + rest}"
        try:
            return datetime.fromisoformat(_FRACTION.sub(r"\1\2", text.replace(" UTC", "Z")))
        except ValueError:
            return None
    if not _RFC_1123.fullmatch(text):
        return None
    try:
        return parsedate_to_datetime(text)
    except (ValueError, InvalidOperation):
        return None


def _written(moment: datetime, *, like: str) -> str:
    like = like.strip()
    if _RFC_1123.fullmatch(like):
        return (
            format_datetime(moment.astimezone(UTC), usegmt=True) if moment.tzinfo else format_datetime(moment)
        )
    if len(like) == len("2024-01-01"):
        text = moment.date().isoformat()
        return text.replace("-", "/") if "/" in like else text
    separator = " " if " " in like[:11] else "T"
    text = moment.isoformat(sep=separator)
    return text.removesuffix("+00:00") + "Z" if like.endswith("Z") else text
