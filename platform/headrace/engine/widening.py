"""One schema for batches whose types drift: null gives way, numbers widen, other conflicts become text."""

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS
from headrace.engine.arrowize import texts

_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}
_UNITS = ("s", "ms", "us", "ns")


class Inexact(Exception):
    """A column's values cannot be converted to its wider type without loss: the writer makes it text."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


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
    is_ = pa.types
    if one.equals(other) or is_.is_null(other):
        return one
    if is_.is_null(one):
        return other
    if is_.is_struct(one) and is_.is_struct(other):
        return _wider_struct(one, other)
    if is_.is_list(one) and is_.is_list(other):
        item = wider(one.value_type, other.value_type)
        return item and pa.list_(item)
    if is_.is_timestamp(one) and is_.is_timestamp(other) and (one.tz is None) == (other.tz is None):
        unit = max(one.unit, other.unit, key=_UNITS.index)
        return pa.timestamp(unit, one.tz if one.tz == other.tz else "UTC")
    if is_.is_integer(one) and is_.is_integer(other):
        return _wider_integer(one, other)
    if _is_number(one) and _is_number(other):
        return _wider_number(one, other)
    return None


def _wider_field(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other, check_metadata=True) or pa.types.is_null(other.type):
        return one
    if pa.types.is_null(one.type):
        return other
    return pa.field(one.name, wider(one.type, other.type) or pa.string())


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the schema's columns, types and order. Raises Inexact."""
    if batch.schema.equals(schema):
        return batch
    present = set(batch.schema.names)
    columns = [
        _conformed(batch.column(field.name), field)
        if field.name in present
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def storable(schema: pa.Schema) -> pa.Schema:
    """Return the schema with text for what Parquet cannot hold: objects without any key."""
    return pa.schema([pa.field(f.name, pa.string()) if _has_empty_struct(f.type) else f for f in schema])


def with_text(schema: pa.Schema, column: str) -> pa.Schema:
    """Return the schema with one column as text."""
    return pa.schema([pa.field(f.name, pa.string()) if f.name == column else f for f in schema])


def _conformed(array: pa.Array, field: pa.Field) -> pa.Array:
    if array.type.equals(field.type):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), field.type)
    try:
        if pa.types.is_string(field.type) and not pa.types.is_large_string(array.type):
            return _as_text(array)
        return array.cast(field.type)
    except pa.ArrowInvalid:
        raise Inexact(field.name) from None


def _as_text(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        return pc.strftime(array, "%Y-%m-%dT%H:%M:%S")  # Python's datetime would cut the nanoseconds
    return texts(array.to_pylist())


def _wider_struct(one: pa.StructType, other: pa.StructType) -> pa.DataType | None:
    types: dict[str, pa.DataType | None] = {field.name: field.type for field in one}
    for field in other:
        mine = types.get(field.name)
        types[field.name] = wider(mine, field.type) if mine is not None else field.type
    return None if None in types.values() else pa.struct(list(types.items()))


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
    scale = max(kind.scale for kind in decimals)
    whole = max(_whole_digits(one), _whole_digits(other))
    return pa.decimal128(whole + scale, scale) if whole + scale <= DECIMAL_DIGITS else None


def _whole_digits(kind: pa.DataType) -> int:
    """How many digits a number of the type may have before its point."""
    return int(kind.precision - kind.scale if pa.types.is_decimal(kind) else _DIGITS[kind.bit_width])


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.num_fields == 0:
        return True
    return pa.types.is_nested(kind) and any(
        _has_empty_struct(kind.field(index).type) for index in range(kind.num_fields)
    )
