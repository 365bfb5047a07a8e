"""Batches in the one schema of a run's output, and that schema in types that Parquet has."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Unreadable
from headrace.connectors.kit.arrow.flat_texts import resolved
from headrace.connectors.kit.arrow.json_text import InvalidJSON, decoded
from headrace.connectors.kit.arrow.rendering import texts
from headrace.engine.arrow.widening import is_list, is_text, value_type

DEEPEST_COLUMN = 32
"""Levels of lists and objects that a column's type may have. DuckDB takes twenty seconds at 48, and more
beyond."""

_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
_KEPT_EXTENSIONS = ("arrow.uuid", "arrow.json")
_PLAIN = {
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.time32("s"): pa.time32("ms"),
}


class Inexact(Exception):
    """A column's values cannot be converted to its wider type without loss: the writer makes it text."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class TooDeep(Unreadable):
    """A column has lists and objects within each other beyond what is kept, even as text."""

    code = "source.too_deep"
    title = "Values are nested too deep"
    hint = "Leave the column out with a transform, or have the source give its parts as text."


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch with the schema's columns, types and order. Raises Inexact and TooDeep."""
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
    """Return the schema in types that Parquet and every destination can hold.

    Text stands for objects without any key, intervals, unions, and what is deeper than DEEPEST_COLUMN; plain
    values stand for references, runs and views.
    """
    return pa.schema([field if _is_stored(field.type) else _stored_field(field) for field in schema])


def with_text(schema: pa.Schema, column: str) -> pa.Schema:
    """Return the schema with one column as text."""
    return pa.schema([pa.field(f.name, pa.string()) if f.name == column else f for f in schema])


def is_deep(kind: pa.DataType) -> bool:
    """Whether a type has more levels of lists and objects than DEEPEST_COLUMN."""
    level = [kind]
    for _ in range(DEEPEST_COLUMN + 1):  # and no recursion: a type may be deeper than Python's stack
        level = [t for t in level if pa.types.is_nested(t)]
        level = [t.field(index).type for t in level for index in range(t.num_fields)]
        if not level:
            return False
    return True


def _conformed(array: pa.Array, field: pa.Field) -> pa.Array:
    if array.type.equals(field.type):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), field.type)
    if not isinstance(field.type, pa.BaseExtensionType):
        array = resolved(array)
    if is_text(field.type) and not is_text(array.type):
        return _as_text(array, field)
    try:
        if is_text(array.type) and pa.types.is_nested(field.type):
            return _parsed(array, field.type)
        return cast(array, field.type)
    except (*_REFUSALS, InvalidJSON):
        raise Inexact(field.name) from None


def cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the values in another type. Raises what Arrow raises if one does not fit.

    Arrow casts flat values. Its casts of lists of a fixed size, and of views of lists, make arrays with parts
    of wrong lengths, so lists, objects and maps are put together here.
    """
    is_ = pa.types
    if array.type.equals(kind):
        return array
    if is_.is_struct(array.type) and is_.is_struct(kind):
        return _cast_struct(array, kind)
    if is_.is_map(array.type) and is_.is_map(kind):
        return _cast_map(array, kind)
    if not is_list(array.type):
        return array.cast(kind)
    if is_.is_fixed_size_list(kind) and is_.is_fixed_size_list(array.type):
        size = kind.list_size
        values = cast(array.values.slice(array.offset * size, len(array) * size), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=array.is_null())
    if not (is_.is_list(kind) or is_.is_large_list(kind)):
        return array.cast(kind)
    width = pa.int64() if is_.is_large_list(kind) else pa.int32()
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(width)
    offsets = pa.concat_arrays([pa.array([0], width), pc.cumulative_sum(lengths)])
    make = pa.LargeListArray if is_.is_large_list(kind) else pa.ListArray
    return make.from_arrays(offsets, cast(array.flatten(), kind.value_type), type=kind, mask=array.is_null())


def _cast_struct(array: pa.StructArray, kind: pa.StructType) -> pa.Array:
    parts = dict(zip([field.name for field in array.type], array.flatten(), strict=True))
    if len(parts) < array.type.num_fields or not parts.keys() <= {field.name for field in kind}:
        return array.cast(kind)
    columns = [
        cast(parts[field.name], field.type) if field.name in parts else pa.nulls(len(array), field.type)
        for field in kind
    ]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=array.is_null())


def _cast_map(array: pa.MapArray, kind: pa.MapType) -> pa.Array:
    offsets = array.offsets
    first, count = offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py()
    keys = cast(array.keys.slice(first, count), kind.key_type)
    items = cast(array.items.slice(first, count), kind.item_type)
    return pa.MapArray.from_arrays(
        pc.subtract(offsets, offsets[0]), keys, items, type=kind, mask=array.is_null()
    )


def _as_text(array: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return texts(array).cast(field.type)
    except ValueError:
        raise TooDeep(f"Column {field.name!r} is nested too deep to be written as text.") from None


def _parsed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Read back what an earlier part of the output holds as text, since its objects had no key yet."""
    if not _is_json(kind):
        raise pa.ArrowInvalid("its text does not tell its values")
    values: list[Any] = [None if text is None else decoded(text.encode()) for text in array.to_pylist()]
    return pa.array(values, kind)


def _is_json(kind: pa.DataType) -> bool:
    """Whether JSON text tells the values of the type."""
    is_ = pa.types
    if is_.is_struct(kind) or is_.is_list(kind):
        return all(_is_json(kind.field(index).type) for index in range(kind.num_fields))
    is_number = is_.is_int64(kind) or is_.is_float64(kind)
    return bool(is_number or is_.is_null(kind) or is_.is_boolean(kind) or is_.is_string(kind))


def _stored_field(field: pa.Field) -> pa.Field:
    kind = None if is_deep(field.type) else stored_type(field.type)
    return pa.field(field.name, pa.string()) if kind is None else field.with_type(kind)


def stored_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the type in which values are stored; None where that is text."""
    is_ = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        is_bool = kind.extension_name == "arrow.bool8"
        return _extension(kind) if not is_bool else pa.bool_()
    kind = value_type(kind)
    if is_.is_interval(kind) or is_.is_union(kind):
        return None
    if is_.is_struct(kind):
        return _stored_struct(kind)
    if is_.is_map(kind):
        key, item = stored_type(kind.key_type), stored_type(kind.item_type)
        return pa.map_(key, item) if key is not None and item is not None else None
    if is_list(kind):
        return _stored_list(kind)
    if is_.is_timestamp(kind) and kind.unit == "s":  # Parquet has none
        return pa.timestamp("ms", kind.tz)
    return _PLAIN.get(kind, kind)


def _extension(kind: pa.BaseExtensionType) -> pa.DataType | None:
    return kind if kind.extension_name in _KEPT_EXTENSIONS else stored_type(kind.storage_type)


def _stored_struct(kind: pa.StructType) -> pa.DataType | None:
    types = [stored_type(field.type) for field in kind]
    if not types or None in types:
        return None
    return pa.struct([field.with_type(stored) for field, stored in zip(kind, types, strict=True)])


def _stored_list(kind: pa.DataType) -> pa.DataType | None:
    item = stored_type(kind.value_type)
    if item is None or item.equals(kind.value_type):
        return item and (kind if not _is_view(kind) else pa.list_(item))
    return pa.list_(item)


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _is_stored(kind: pa.DataType) -> bool:
    stored = None if pa.types.is_nested(kind) else stored_type(kind)
    return stored is not None and stored.equals(kind)
