"""Dates, times, timestamps, durations and intervals as ISO 8601 text, for all values that Arrow can hold.

Arrow writes the years 0 to 9999. Values outside of them are few, and are written one by one
from their integers.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

_DAY = 86_400
_FIRST_DAY, _END_DAY = -719_528, 2_932_897  # 0000-01-01 and 10000-01-01, in days since 1970
PARTS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_LEAST = -(2**63)


def dates(array: pa.Array) -> pa.Array:
    """Write `2024-01-31`; a year beyond 9999 has a plus, one before 0 (which is 1 BC) a minus."""
    per_day = 1 if pa.types.is_date32(array.type) else _DAY * 1_000
    bounds = _FIRST_DAY * per_day, _END_DAY * per_day
    return _written(array, bounds, _plain, lambda value: _date(value // per_day))


def times(array: pa.Array) -> pa.Array:
    """Write `12:30:00`, with a fraction where there is one."""
    parts = PARTS[array.type.unit]
    return _written(array, (0, _DAY * parts), _whole_seconds, lambda value: _clock(value, parts))


def timestamps(array: pa.Array) -> pa.Array:
    """Write `2024-01-31T12:30:00`, and behind it the offset of the zone at that instant, if there is a zone.

    UTC has a `Z`, and so have instants whose offset ISO 8601 cannot write, which has minutes and no seconds.
    """
    parts = PARTS[array.type.unit]
    zone = "Z" if array.type.tz else ""
    margin = 1 if zone and array.type.tz != "UTC" else 0  # the local time may lie in the next year
    bounds = (_FIRST_DAY + margin) * _DAY * parts, (_END_DAY - margin) * _DAY * parts
    return _written(array, bounds, _timestamps, lambda value: _timestamp(value, parts) + zone)


def durations(array: pa.Array) -> pa.Array:
    """Write `P1DT3600.5S`: days of 24 hours, and seconds."""
    parts = PARTS[array.type.unit]
    values = array.cast(pa.int64())
    least = pc.equal(values, _LEAST)  # it has no positive counterpart
    texts = _durations(pc.if_else(least, 0, values), parts)
    if not pc.any(least).as_py():
        return texts
    days, rest = divmod(-_LEAST, _DAY * parts)
    seconds, fraction = divmod(rest, parts)
    digits = f".{fraction:0{len(str(parts)) - 1}}".rstrip("0").rstrip(".") if parts > 1 else ""
    return pc.if_else(least, f"-P{days}DT{seconds}{digits}S", texts)


def intervals(array: pa.Array) -> pa.Array:
    """Write `P1M2DT3.000000004S`: months, days and seconds, each with its sign."""
    return pa.array(
        [None if value is None else _interval(*value) for value in array.to_pylist()], pa.string()
    )


def _written(
    array: pa.Array,
    bounds: tuple[int, int],
    usual: Callable[[pa.Array], pa.Array],
    other: Callable[[int], str],
) -> pa.Array:
    integers = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    if not _reaches_beyond(integers, bounds):
        return usual(array)
    in_bounds = pc.and_(pc.greater_equal(integers, max(bounds[0], _LEAST)), pc.less(integers, bounds[1]))
    texts = usual(pc.if_else(in_bounds, array, None))
    outside = pc.fill_null(pc.invert(in_bounds), False)
    others = [other(value) for value in integers.filter(outside).to_pylist()]
    return pc.replace_with_mask(texts, outside, pa.array(others, pa.string()))


def _reaches_beyond(integers: pa.Array, bounds: tuple[int, int]) -> bool:
    edges = pc.min_max(integers).as_py()
    return edges["min"] is not None and (edges["min"] < bounds[0] or edges["max"] >= bounds[1])


def _plain(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _whole_seconds(array: pa.Array) -> pa.Array:
    """Write without a fraction what has none; otherwise with all the digits of the unit."""
    texts = array.cast(pa.string())
    zeros = "." + "0" * (len(str(PARTS[array.type.unit])) - 1)
    whole = pc.ends_with(texts, zeros)
    if zeros == "." or not pc.any(whole).as_py():
        return texts
    return pc.if_else(whole, pc.utf8_slice_codeunits(texts, 0, -len(zeros)), texts)


def _timestamps(array: pa.Array) -> pa.Array:
    unit, zone = array.type.unit, array.type.tz
    naive = array.cast(pa.int64()).cast(pa.timestamp(unit))
    if not zone or zone == "UTC":
        return pc.binary_join_element_wise(_with_t(naive), "Z" if zone else "", "")
    local = pc.local_timestamp(array)
    offsets = pc.divide(pc.subtract(local, naive).cast(pa.int64()), PARTS[unit]).dictionary_encode()
    suffixes = [None if offset is None else _offset(offset) for offset in offsets.dictionary.to_pylist()]
    suffix = pa.array(suffixes, pa.string()).take(offsets.indices)
    return pc.binary_join_element_wise(_with_t(pc.if_else(pc.equal(suffix, "Z"), naive, local)), suffix, "")


def _with_t(naive: pa.Array) -> pa.Array:
    return pc.binary_replace_slice(_whole_seconds(naive).cast(pa.binary()), 10, 11, b"T").cast(pa.string())


def _offset(seconds: int) -> str:
    if seconds == 0 or seconds % 60:
        return "Z"
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


def _durations(values: pa.Array, parts: int) -> pa.Array:
    size = pc.abs(values)
    days = pc.divide(size, _DAY * parts)
    rest = pc.subtract(size, pc.multiply(days, _DAY * parts))
    seconds = pc.divide(rest, parts)
    fraction = pc.subtract(rest, pc.multiply(seconds, parts)).cast(pa.string())
    if parts > 1:
        padded = pc.utf8_lpad(fraction, len(str(parts)) - 1, "0")
        digits = pc.utf8_rtrim(padded, "0")
        fraction = pc.if_else(pc.equal(digits, ""), "", pc.binary_join_element_wise(".", digits, ""))
    else:
        fraction = pc.if_else(values.is_valid(), "", None)
    clock = pc.binary_join_element_wise("T", seconds.cast(pa.string()), fraction, "S", "")
    day = pc.binary_join_element_wise(days.cast(pa.string()), "D", "")
    sign = pc.if_else(pc.less(values, 0), "-P", "P")
    day = pc.if_else(pc.and_(pc.equal(days, 0), pc.greater(size, 0)), "", day)
    return pc.binary_join_element_wise(sign, day, pc.if_else(pc.equal(rest, 0), "", clock), "")


def _interval(months: int, days: int, nanoseconds: int) -> str:
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    digits = f".{fraction:09}".rstrip("0").rstrip(".")
    clock = f"T{'-' if nanoseconds < 0 else ''}{seconds}{digits}S" if nanoseconds else ""
    date = (f"{months}M" if months else "") + (f"{days}D" if days else "")
    return f"P{date}{clock}" if date or clock else "P0D"


def _timestamp(value: int, parts: int) -> str:
    days, rest = divmod(value, _DAY * parts)
    return f"{_date(days)}T{_clock(rest, parts)}"


def _clock(value: int, parts: int) -> str:
    seconds, fraction = divmod(abs(value), parts)
    digits = f".{fraction:0{len(str(parts)) - 1}}" if fraction else ""
    sign = "-" if value < 0 else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{digits}"


def _date(days: int) -> str:
    """Write a day of the proleptic Gregorian calendar, which repeats every 400 years (146,097 days)."""
    era, day = divmod(days - _FIRST_DAY - 60, 146_097)  # from 0000-03-01: leap days are last in their years
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day_of_month = day - (153 * month + 2) // 5 + 1
    number = month + 3 if month < 10 else month - 9
    full = era * 400 + year + (number <= 2)
    sign = "+" if full > 9999 else "-" if full < 0 else ""
    return f"{sign}{abs(full):04}-{number:02}-{day_of_month:02}"


def days_since_1970(year: int, month: int, day: int) -> int:
    """Return the day's number, for any year of the proleptic Gregorian calendar; the year 0 is 1 BC."""
    year -= month <= 2
    era, rest = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + rest * 365 + rest // 4 - rest // 100 + day_of_year + _FIRST_DAY + 60
