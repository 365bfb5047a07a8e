"""One schema for batches whose types drift: null gives way, types of a family widen, others become text."""

from collections.abc import Callable

import pyarrow as pa

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS

_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}
_UNITS = ("s", "ms", "us", "ns")
_WIDE_DIGITS = 76  # of decimal256


class AmbiguousColumns(Unreadable):
    """A source yielded a batch with two columns of one name."""

    code = "source.ambiguous_columns"


def widen(known: pa.Schema, seen: pa.Schema) -> pa.Schema:
    """Return the schema that holds the rows of both: known columns first, then new ones.

    What a source says of a column in the field's metadata stays while the column is what it was.
    """
    if known.equals(seen):
        return known
    if len(set(seen.names)) < len(seen.names):
        raise AmbiguousColumns("The source yielded two columns of one name.")
    fields = {field.name: field for field in known}
    for field in seen:
        fields[field.name] = _wider_field(fields.get(field.name, field), field)
    return pa.schema(list(fields.values()))


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the narrowest type that holds the values of both; None when there is none but text."""
    if one.equals(other) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    one, other = value_type(one), value_type(other)
    if one.equals(other):
        return one
    for is_member, join in _FAMILIES:
        if is_member(one) and is_member(other):
            return join(one, other)
    return None


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values that references, runs or a name beside the type stand for."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    return value_type(kind.storage_type) if isinstance(kind, pa.BaseExtensionType) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether values of the type are text."""
    is_ = pa.types
    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether values of the type are lists, of whatever layout."""
    is_ = pa.types
    is_view = is_.is_list_view(kind) or is_.is_large_list_view(kind)
    return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind) or is_view)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of the type are bytes, of whatever layout."""
    is_ = pa.types
    is_wide = is_.is_large_binary(kind) or is_.is_binary_view(kind)
    return bool(is_.is_binary(kind) or is_.is_fixed_size_binary(kind) or is_wide)


def _wider_field(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other, check_metadata=True) or pa.types.is_null(other.type):
        return one
    if pa.types.is_null(one.type):
        return other
    return pa.field(one.name, wider(one.type, other.type) or pa.string())


def _wider_struct(one: pa.StructType, other: pa.StructType) -> pa.DataType | None:
    types: dict[str, pa.DataType | None] = {field.name: field.type for field in one}
    if len(types) < one.num_fields or len({field.name for field in other}) < other.num_fields:
        return None  # a name twice: no type holds both
    for field in other:
        mine = types.get(field.name)
        types[field.name] = wider(mine, field.type) if mine is not None else field.type
    return None if None in types.values() else pa.struct(list(types.items()))


def _wider_list(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    item = wider(one.value_type, other.value_type)
    make = pa.large_list if _is_large(one) or _is_large(other) else pa.list_
    return item and make(item)


def _wider_map(one: pa.MapType, other: pa.MapType) -> pa.DataType | None:
    key, item = wider(one.key_type, other.key_type), wider(one.item_type, other.item_type)
    return pa.map_(key, item) if key is not None and item is not None else None


def _wider_text(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return pa.large_string() if _is_large(one) or _is_large(other) else pa.string()


def _wider_bytes(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return pa.large_binary() if _is_large(one) or _is_large(other) else pa.binary()


def _is_large(kind: pa.DataType) -> bool:
    is_ = pa.types
    is_list = is_.is_large_list(kind) or is_.is_large_list_view(kind)
    return bool(is_.is_large_string(kind) or is_.is_large_binary(kind) or is_list)


def _wider_timestamp(one: pa.TimestampType, other: pa.TimestampType) -> pa.DataType | None:
    if (one.tz is None) != (other.tz is None):
        return None
    return pa.timestamp(_finer(one, other), one.tz if one.tz == other.tz else "UTC")


def _wider_time(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    unit = _finer(one, other)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)


def _finer(one: pa.DataType, other: pa.DataType) -> str:
    return _UNITS[max(_UNITS.index(one.unit), _UNITS.index(other.unit))]


def _wider_integer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    signed = pa.types.is_signed_integer(one), pa.types.is_signed_integer(other)
    if all(signed) or not any(signed):
        return max(one, other, key=lambda kind: kind.bit_width)
    unsigned = other if signed[0] else one
    return pa.int64() if unsigned.bit_width < 64 else pa.decimal128(20, 0)


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    decimals = [kind for kind in (one, other) if pa.types.is_decimal(kind)]
    if not decimals:
        return pa.float64()
    if any(pa.types.is_floating(kind) for kind in (one, other)):
        return None
    scale = max(0, *(kind.scale for kind in decimals))
    digits = max(_whole_digits(one), _whole_digits(other)) + scale
    if digits <= DECIMAL_DIGITS:
        return pa.decimal128(digits, scale)
    is_wide = any(kind.bit_width > 128 for kind in decimals)
    return pa.decimal256(digits, scale) if is_wide and digits <= _WIDE_DIGITS else None


def _whole_digits(kind: pa.DataType) -> int:
    """How many digits a number of the type may have before its point."""
    return int(kind.precision - kind.scale if pa.types.is_decimal(kind) else _DIGITS[kind.bit_width])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


_FAMILIES: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType, pa.DataType], pa.DataType | None]], ...
] = (
    (is_text, _wider_text),
    (pa.types.is_integer, _wider_integer),
    (_is_number, _wider_number),
    (pa.types.is_struct, _wider_struct),
    (is_list, _wider_list),
    (pa.types.is_map, _wider_map),
    (pa.types.is_timestamp, _wider_timestamp),
    (pa.types.is_time, _wider_time),
    (pa.types.is_duration, lambda one, other: pa.duration(_finer(one, other))),
    (pa.types.is_date, lambda one, other: pa.date32()),
    (is_bytes, _wider_bytes),
)
"""Types that share a wider one, and what it is. Booleans are no numbers, dates no times."""
