"""Arrow values as JSON text, a column at a time: a Python object for each value costs ten times as much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_ESCAPED = r'["\\\x00-\x1f]'  # RFC 8259, section 7
_ROWS_AT_ONCE = 4_096


def json_texts(array: pa.Array) -> pa.Array:
    """Write each value as JSON, in UTF-8: maps as objects, decimals as numbers, times as ISO 8601 text.

    A null stays a null, and is `null` inside; so is a float that is no number. Raises what converting a value
    to Python raises: ValueError, OverflowError, and KeyError for a map that has a key twice.
    """
    import pyarrow.compute as pc

    return pc.if_else(array.is_valid(), _texts(array), None)


def _texts(array: pa.Array) -> pa.Array:
    """Like `json_texts`, with `null` for nulls."""
    import pyarrow.compute as pc

    return pc.fill_null(_writer(array.type)(array), "null")


def _writer(kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    import pyarrow as pa

    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return lambda array: array.cast(pa.string())
    if pa.types.is_float64(kind):
        return _floats
    if pa.types.is_string(kind):
        return _strings
    if pa.types.is_struct(kind) and kind.num_fields:
        return _objects
    if pa.types.is_list(kind):
        return _lists
    return _any


def _floats(array: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    shortest = pc.if_else(pc.is_finite(array), array, None).cast(pa.string())
    return pc.replace_substring_regex(shortest, r"^(-?\d+)$", r"\1.0")


def _strings(array: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    quote = pa.scalar('"')
    plain = pc.binary_join_element_wise(quote, array, quote, "")
    special = pc.fill_null(pc.match_substring_regex(array, _ESCAPED), False)
    found = [_ENCODER.encode(text).decode() for text in array.filter(special).to_pylist()]
    return pc.replace_with_mask(plain, special, pa.array(found, pa.string())) if found else plain


def _objects(array: pa.StructArray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts: list[Any] = []
    for index, field in enumerate(array.type):
        key = _ENCODER.encode(field.name).decode()
        parts += [pa.scalar(f"{',' if index else '{'}{key}:"), _texts(array.field(index))]
    return pc.if_else(array.is_valid(), pc.binary_join_element_wise(*parts, pa.scalar("}"), ""), None)


def _lists(array: pa.ListArray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    items = _texts(array.values.slice(first, last - first))
    lists = pa.ListArray.from_arrays(pc.subtract(array.offsets, array.offsets[0]), items)
    joined = pc.binary_join_element_wise(pa.scalar("["), pc.binary_join(lists, ","), pa.scalar("]"), "")
    return pc.if_else(array.is_valid(), joined, None)


def _any(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    starts = range(0, len(array), _ROWS_AT_ONCE)
    slices = (array.slice(start, _ROWS_AT_ONCE).to_pylist(maps_as_pydicts="strict") for start in starts)
    return pa.array(
        [None if value is None else _ENCODER.encode(value).decode() for values in slices for value in values],
        pa.string(),
    )
