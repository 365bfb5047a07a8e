"""Values without parts as text: numbers, decimals, bytes, UUIDs; what stands for other values is resolved."""

import base64
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors.kit.arrow import moments

_ZEROS_OF_A_FLOAT = r"^(-?\d+)$"


def resolved(array: pa.Array) -> pa.Array:
    """Return the values that an array of references, of runs or of an extension type stands for."""
    if isinstance(array, pa.ChunkedArray):
        return resolved(array.combine_chunks())
    if isinstance(array, pa.DictionaryArray):
        values = _without_view(array.dictionary)
        return resolved(pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode())
    if isinstance(array, pa.RunEndEncodedArray):
        runs = pa.RunEndEncodedArray.from_arrays(array.run_ends, _without_view(array.values))
        return resolved(pc.run_end_decode(runs.slice(array.offset, len(array))))
    if isinstance(array, pa.ExtensionArray) and not _is_uuid(array.type):
        is_bool = array.type.extension_name == "arrow.bool8"
        return array.storage.cast(pa.bool_()) if is_bool else resolved(array.storage)
    return array


def _without_view(array: pa.Array) -> pa.Array:
    """Return texts and bytes by themselves: Arrow looks up no views."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(array.type)
    return array.cast(plain) if plain else array


def writer_of(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    """Return what writes a type's values as text; None for a type that has parts."""
    found = next((writer for test, writer in _WRITERS if test(kind)), None)
    return uuids if _is_uuid(kind) else found


def floats(array: pa.Array) -> pa.Array:
    """Write the fewest digits that give the same value, always with a point or an exponent."""
    texts = pc.replace_substring_regex(array.cast(pa.string()), _ZEROS_OF_A_FLOAT, r"\1.0")
    if pc.all(pc.is_finite(array)).as_py() is not False:
        return texts
    infinite = pc.if_else(pc.equal(texts, "inf"), "Infinity", "-Infinity")
    return pc.if_else(pc.is_finite(array), texts, pc.if_else(pc.is_nan(array), "NaN", infinite))


def decimals(array: pa.Array) -> pa.Array:
    """Write all digits of the scale, and no exponent."""
    texts = array.cast(pa.string())
    with_exponent = pc.match_substring(texts, "E")
    if not pc.any(with_exponent).as_py():
        return texts
    return pc.replace_with_mask(texts, with_exponent, _digits(array.filter(with_exponent)))


def binaries(array: pa.Array) -> pa.Array:
    """Write base64."""
    values = array.to_pylist()
    return pa.array([None if v is None else base64.b64encode(v).decode() for v in values], pa.string())


def uuids(array: pa.Array) -> pa.Array:
    """Write the usual form, as in `12345678-1234-5678-1234-567812345678`."""
    values = array.storage.to_pylist()
    digits = pa.array([None if value is None else value.hex() for value in values], pa.string())
    edges = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
    parts = [pc.utf8_slice_codeunits(digits, start, end) for start, end in edges]
    return pc.binary_join_element_wise(*parts, "-")


def _plain(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _digits(array: pa.Array) -> pa.Array:
    """The digits, with the point in its place: the integer that is stored is written by Arrow as it is."""
    kind = array.type
    unscaled = _INTEGERS[type(kind)](kind.precision, 0)
    integers = pa.Array.from_buffers(unscaled, len(array), array.buffers(), offset=array.offset)
    integers = integers.cast(pa.string())
    if kind.scale < 0:
        scaled = pc.binary_join_element_wise(integers, "0" * -kind.scale, "")
        return pc.if_else(pc.equal(integers, "0"), "0", scaled)
    sign = pc.if_else(pc.starts_with(integers, "-"), "-", "")
    padded = pc.utf8_lpad(pc.utf8_ltrim(integers, "-"), kind.scale + 1, "0")
    whole = pc.utf8_slice_codeunits(padded, 0, -kind.scale)
    fraction = pc.utf8_slice_codeunits(padded, -kind.scale)
    return pc.binary_join_element_wise(sign, whole, pa.scalar("."), fraction, "")


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def _is_text(kind: pa.DataType) -> bool:
    is_ = pa.types
    return any(test(kind) for test in (is_.is_string, is_.is_large_string, is_.is_string_view))


def _is_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    tests = (is_.is_binary, is_.is_large_binary, is_.is_binary_view, is_.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_plain(kind: pa.DataType) -> bool:
    is_ = pa.types
    return any(test(kind) for test in (is_.is_null, is_.is_boolean, is_.is_integer, _is_text))


_INTEGERS: dict[type, Callable[[int, int], pa.DataType]] = {
    pa.Decimal32Type: pa.decimal32,
    pa.Decimal64Type: pa.decimal64,
    pa.Decimal128Type: pa.decimal128,
    pa.Decimal256Type: pa.decimal256,
}
_WRITERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_plain, _plain),
    (pa.types.is_floating, floats),
    (pa.types.is_decimal, decimals),
    (_is_binary, binaries),
    (pa.types.is_date, moments.dates),
    (pa.types.is_time, moments.times),
    (pa.types.is_timestamp, moments.timestamps),
    (pa.types.is_duration, moments.durations),
    (pa.types.is_interval, moments.intervals),
)
