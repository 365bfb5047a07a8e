"""Arrow arrays as JSON, a column at a time: a Python object for each value costs ten times as much."""

from collections.abc import Callable
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors.kit.arrow.flat_texts import decimals, floats, resolved, writer_of

Decimals = Literal["number", "text"]
_ENCODER = msgspec.json.Encoder()
_ESCAPED = r'["\\\x00-\x1f]'  # RFC 8259, section 7
_ZERO = pa.array([0], pa.int32())
_DEEPEST = 100  # levels; the JSON that we read has as many at most


class TooDeep(ValueError):
    """Values have parts within parts beyond what is written."""


def json_values(array: pa.Array, form: Decimals, level: int = 0) -> pa.Array:
    """Write each value as JSON; a null is `null`. Raises TooDeep."""
    return pc.fill_null(nullable_json(array, form, level), "null")


def nullable_json(array: pa.Array, form: Decimals, level: int = 0) -> pa.Array:
    """Like `json_values`, with a null for a null."""
    if level > _DEEPEST:
        raise TooDeep(f"more than {_DEEPEST} levels")
    array = resolved(array)
    kind = array.type
    nested = next((write for test, write in _NESTED if test(kind)), None)
    if nested is not None:
        return nested(array, form, level + 1)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    if pa.types.is_floating(kind):
        return _floats(array)
    if pa.types.is_decimal(kind) and form == "number":
        return decimals(array)
    return _strings(array)


def _floats(array: pa.Array) -> pa.Array:
    texts = floats(array)
    if pc.all(pc.is_finite(array)).as_py() is not False:
        return texts
    return pc.if_else(pc.is_finite(array), texts, pc.binary_join_element_wise('"', texts, '"', ""))


def _strings(array: pa.Array) -> pa.Array:
    write = writer_of(array.type)
    if write is None:
        raise ValueError(f"{array.type} has no JSON")
    texts = write(array)
    quote = pa.scalar('"')
    plain = pc.binary_join_element_wise(quote, texts, quote, "")
    special = pc.fill_null(pc.match_substring_regex(texts, _ESCAPED), False)
    found = [_ENCODER.encode(text).decode() for text in texts.filter(special).to_pylist()]
    return pc.replace_with_mask(plain, special, pa.array(found, pa.string())) if found else plain


def objects(
    names: list[str], columns: list[pa.Array], form: Decimals, level: int, end: str = "}"
) -> pa.Array:
    """Write objects whose members are in columns."""
    parts: list[pa.Array | pa.Scalar] = []
    for name, column in zip(names, columns, strict=True):
        start = "," if parts else "{"
        parts += [pa.scalar(f"{start}{_ENCODER.encode(name).decode()}:"), json_values(column, form, level)]
    return pc.binary_join_element_wise(*parts, pa.scalar(end), "")


def _structs(array: pa.StructArray, form: Decimals, level: int) -> pa.Array:
    if array.type.num_fields == 0:
        return pc.if_else(array.is_valid(), "{}", None)
    columns = [array.field(index) for index in range(array.type.num_fields)]
    written = objects([field.name for field in array.type], columns, form, level)
    return pc.if_else(array.is_valid(), written, None)


def _lists(array: pa.Array, form: Decimals, level: int) -> pa.Array:
    if pa.types.is_list(array.type):
        offsets, items = _parts(array, array.values)
    else:
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
        offsets, items = pa.concat_arrays([_ZERO, pc.cumulative_sum(lengths)]), array.flatten()
    return _bracketed(array, "[", _joined(offsets, json_values(items, form, level)), "]")


def _maps(array: pa.MapArray, form: Decimals, level: int) -> pa.Array:
    """Write objects, but lists of pairs for a map that has a key twice: an object would lose one of them."""
    offsets, keys = _parts(array, array.keys)
    _, items = _parts(array, array.items)
    keys, values = resolved(keys), json_values(items, form, level)
    names = _key_texts(keys, form, level)
    written = _bracketed(array, "{", _joined(offsets, pc.binary_join_element_wise(names, values, ":")), "}")
    twice = _with_a_key_twice(offsets, names)
    if twice is None:
        return written
    pairs = pc.binary_join_element_wise("[", json_values(keys, form, level), ",", values, "]", "")
    return pc.if_else(twice, _bracketed(array, "[", _joined(offsets, pairs), "]"), written)


def _key_texts(keys: pa.Array, form: Decimals, level: int) -> pa.Array:
    """Write keys as names: texts as they are, all else as text that says it."""
    write = writer_of(keys.type)
    return _strings(write(keys) if write else json_values(keys, form, level))


def _with_a_key_twice(offsets: pa.Array, names: pa.Array) -> pa.Array | None:
    """Tell for each map whether it has a key twice; None where no map has."""
    maps = pc.list_parent_indices(pa.ListArray.from_arrays(offsets, names))
    counted = pa.table({"map": maps, "name": names}).group_by(["map", "name"]).aggregate([([], "count_all")])
    if counted.num_rows == len(names):
        return None
    found = counted.filter(pc.greater(counted["count_all"], 1))["map"]
    places = pa.array(range(len(offsets) - 1), maps.type)
    return pc.is_in(places, found.combine_chunks())


def _unions(array: pa.UnionArray, form: Decimals, level: int) -> pa.Array:
    return union_of(array, lambda child: nullable_json(child, form, level))


def union_of(array: pa.UnionArray, write: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Write each value of a union as its own type has it."""
    if array.offset:
        array = pa.concat_arrays([array])  # its codes and places would be those from before the slice
    codes = array.type_codes
    is_dense = array.type.mode == "dense"
    places = array.offsets if is_dense else pa.array(range(len(array)), pa.int32())
    written = pa.nulls(len(array), pa.string())
    for index, code in enumerate(array.type.type_codes):
        here = pc.equal(codes, pa.scalar(code, pa.int8()))
        child = write(array.field(index))
        written = pc.if_else(here, child.take(pc.if_else(here, places, None)), written)
    return written


def _parts(array: pa.Array, values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the offsets from zero, and the values that they cut."""
    first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
    return pc.subtract(array.offsets, array.offsets[0]), values.slice(first, last - first)


def _joined(offsets: pa.Array, texts: pa.Array) -> pa.Array:
    return pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ",")


def _bracketed(array: pa.Array, start: str, inside: pa.Array, end: str) -> pa.Array:
    written = pc.binary_join_element_wise(pa.scalar(start), inside, pa.scalar(end), "")
    return pc.if_else(array.is_valid(), written, None)


def _is_list(kind: pa.DataType) -> bool:
    is_ = pa.types
    plain = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
    return any(test(kind) for test in (*plain, is_.is_list_view, is_.is_large_list_view))


_NESTED: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, Decimals, int], pa.Array]], ...] = (
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
    (_is_list, _lists),
    (pa.types.is_union, _unions),
)
