"""Text and JSON back into the Arrow values that `rendering` made them of; docs/types.md has the forms."""

import base64
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors.kit.arrow import moments

_DURATION = re.compile(r"(-?)P(?:(\d+)D)?(?:T(\d+)(?:\.(\d+))?S)?")
_MOMENT = re.compile(r"([+-]?\d{4,}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))?")
_BEYOND = r"^[+-]"  # a year beyond 9999 or before 0


def parsed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the values that the texts say, in their type. Raises ValueError for other texts.

    ArrowInvalid, which pyarrow raises, is a ValueError.
    """
    is_ = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _extension(texts, kind)
    parser = next((parse for test, parse in _PARSERS if test(kind)), None)
    if parser is not None:
        return parser(texts, kind)
    if is_.is_null(kind):
        if texts.null_count < len(texts):
            raise ValueError("a column of nulls has a value")
        return pa.nulls(len(texts))
    if is_.is_nested(kind):
        decoder = msgspec.json.Decoder()
        return from_json([None if text is None else decoder.decode(text) for text in texts.to_pylist()], kind)
    return texts.cast(kind)


def from_json(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return the values of JSON in their type. Raises ValueError, TypeError or KeyError for other values."""
    is_ = pa.types
    if is_.is_boolean(kind) or is_.is_integer(kind):
        return pa.array(values, kind)
    if is_.is_floating(kind):
        return pa.array([None if value is None else float(value) for value in values], kind)
    if is_.is_struct(kind):
        return _struct(values, kind)
    if is_.is_map(kind):
        return _map(values, kind)
    if is_.is_nested(kind):
        return _list(values, kind)
    return parsed(pa.array(values, pa.string()), kind)


def _struct(values: Sequence[Any], kind: pa.StructType) -> pa.Array:
    columns = [
        from_json([None if value is None else value[field.name] for value in values], field.type)
        for field in kind
    ]
    mask = pa.array([value is None for value in values], pa.bool_())
    if not columns:
        return pa.array([None if value is None else {} for value in values], kind)
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=mask)


def _list(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        filled = [value or [None] * kind.list_size for value in values]
        items = from_json(list(chain.from_iterable(filled)), kind.value_type)
        mask = pa.array([value is None for value in values], pa.bool_())
        return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=mask)
    items = from_json([item for value in values for item in value or ()], kind.value_type)
    is_large = pa.types.is_large_list(kind)
    build = pa.LargeListArray if is_large else pa.ListArray
    return build.from_arrays(_offsets(values, pa.int64() if is_large else pa.int32()), items, type=kind)


def _map(values: Sequence[Any], kind: pa.MapType) -> pa.Array:
    """Read objects, and lists of pairs where a map had a key twice."""
    pairs = [_pairs(value, kind.key_type) for value in values]
    keys = pa.concat_arrays([pa.array([], kind.key_type), *(keys for keys, _ in pairs)])
    items = from_json([item for _, items in pairs for item in items], kind.item_type)
    offsets = _offsets(
        [None if value is None else items for value, (_, items) in zip(values, pairs, strict=True)]
    )
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind)


def _pairs(value: Any, key_type: pa.DataType) -> tuple[pa.Array, list[Any]]:
    if isinstance(value, dict):
        return parsed(pa.array(list(value), pa.string()), key_type), list(value.values())
    pairs = value or []
    return from_json([key for key, _ in pairs], key_type), [item for _, item in pairs]


def _offsets(values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return where each list begins, and where the last one ends; a null begins nowhere."""
    offsets: list[int | None] = []
    end = 0
    for value in values:
        offsets.append(None if value is None else end)
        end += len(value or ())
    return pa.array([*offsets, end], kind or pa.int32())


def _extension(texts: pa.Array, kind: pa.BaseExtensionType) -> pa.Array:
    storage = texts.cast(kind.storage_type) if kind.extension_name == "arrow.json" else _hex(texts, kind)
    return pa.ExtensionArray.from_storage(kind, storage)


def _hex(texts: pa.Array, kind: pa.BaseExtensionType) -> pa.Array:
    if kind.extension_name != "arrow.uuid":
        raise ValueError(f"{kind} is not read from text")
    digits = [None if text is None else bytes.fromhex(text.replace("-", "")) for text in texts.to_pylist()]
    return pa.array(digits, kind.storage_type)


def _binaries(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    values = [None if text is None else base64.b64decode(text, validate=True) for text in texts.to_pylist()]
    return pa.array(values, kind)


def _half_floats(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    return texts.cast(pa.float32()).cast(kind)


def _dates(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    found = _split(texts, lambda near: near.cast(pa.date32()).cast(pa.int32()), _day)
    days = found.cast(pa.int64())
    return (
        days.cast(pa.int32()).cast(kind)
        if pa.types.is_date32(kind)
        else pc.multiply(days, 86_400_000).cast(kind)
    )


def _times(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    moment = pc.binary_join_element_wise("1970-01-01T", texts, "")
    integers = moment.cast(pa.timestamp(kind.unit)).cast(pa.int64())
    return (integers.cast(pa.int32()) if kind.bit_width == 32 else integers).cast(kind)


def _timestamps(texts: pa.Array, kind: pa.TimestampType) -> pa.Array:
    parts = moments.PARTS[kind.unit]
    try:
        found = _split(
            texts, lambda near: near.cast(kind).cast(pa.int64()), lambda text: _moment(text, parts)
        )
    except pa.ArrowInvalid:  # so it says of the first second of nanoseconds, too
        found = pa.array(
            [None if text is None else _moment(text, parts) for text in texts.to_pylist()], pa.int64()
        )
    return found.cast(kind)


def _durations(texts: pa.Array, kind: pa.DurationType) -> pa.Array:
    parts = moments.PARTS[kind.unit]
    values = [None if text is None else _duration(text, parts) for text in texts.to_pylist()]
    return pa.array(values, pa.int64()).cast(kind)


def _split(texts: pa.Array, usual: Callable[[pa.Array], pa.Array], other: Callable[[str], int]) -> pa.Array:
    """Convert the texts of years that Arrow reads by its own means, and the others one by one."""
    beyond = pc.fill_null(pc.match_substring_regex(texts, _BEYOND), False)
    integers = usual(pc.if_else(beyond, None, texts)).cast(pa.int64())
    others = [other(text) for text in texts.filter(beyond).to_pylist()]
    return pc.replace_with_mask(integers, beyond, pa.array(others, pa.int64())) if others else integers


def _day(text: str) -> int:
    year, month, day = map(int, text.lstrip("+-").split("-"))
    return moments.days_since_1970(-year if text[0] == "-" else year, month, day)


def _moment(text: str, parts: int) -> int:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    day, hours, minutes, seconds, fraction, sign, zone_hours, zone_minutes = match.groups()
    since = _day(day) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
    offset = int(zone_hours or 0) * 3_600 + int(zone_minutes or 0) * 60
    return (since + (offset if sign == "-" else -offset)) * parts + _fraction(fraction or "", parts)


def _duration(text: str, parts: int) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("not a duration")
    sign, days, seconds, fraction = match.groups()
    size = (int(days or 0) * 86_400 + int(seconds or 0)) * parts + _fraction(fraction or "", parts)
    return -size if sign else size


def _fraction(digits: str, parts: int) -> int:
    return int(digits.ljust(len(str(parts)) - 1, "0") or 0) if digits else 0


def _is_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    tests = (is_.is_binary, is_.is_large_binary, is_.is_binary_view, is_.is_fixed_size_binary)
    return any(test(kind) for test in tests)


_PARSERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, Any], pa.Array]], ...] = (
    (pa.types.is_float16, _half_floats),
    (_is_binary, _binaries),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_duration, _durations),
)
