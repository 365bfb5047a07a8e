"""Arrow arrays made ready for PostgreSQL's binary COPY. Every function is exact or raises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.connectors.kit.arrow.json_columns import json_texts

if TYPE_CHECKING:
    import pyarrow as pa

# An escaped NUL, which jsonb refuses; an even number of backslashes before it stands for themselves.
_JSON_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_JSONB_VERSION = b"\x01"  # what jsonb_recv expects first (src/backend/utils/adt/jsonb.c)


def exact(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast without losing a digit. Raises pyarrow.ArrowInvalid; times finer than a microsecond are cut."""
    import pyarrow as pa

    finer = getattr(array.type, "unit", None) == "ns"
    if finer and not pa.types.is_duration(array.type):
        return array.cast(target, safe=False)
    return array.cast(target)


def without_nuls(array: pa.Array) -> tuple[pa.Array, int]:
    """Return text, or lists of it, without NUL characters, and how many there were: PostgreSQL has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = array.values if pa.types.is_list(array.type) else array
    if not pa.types.is_string(text.type) or not _holds_nul(text):
        return array, 0
    if pa.types.is_list(array.type):
        count = pc.sum(pc.count_substring(array.flatten(), "\0")).as_py() or 0
        kept = [
            None if items is None else [item and item.replace("\0", "") for item in items]
            for items in array.to_pylist()
        ]
        return pa.array(kept, array.type), count
    return pc.replace_substring(text, "\0", ""), pc.sum(pc.count_substring(text, "\0")).as_py() or 0


def without_json_nuls(array: pa.Array) -> tuple[pa.Array, int]:
    """Return jsonb as it travels without escaped NUL characters, and how many there were."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(array, b"\\u0000")).as_py():
        return array, 0
    found = [(None, 0) if row is None else _JSON_NUL.subn(rb"\1", row) for row in array.to_pylist()]
    return pa.array([row for row, _ in found], array.type), sum(count for _, count in found)


def storage(array: pa.Array) -> pa.Array:
    """Return what an extension array is made of."""
    return array.storage


def json_wire(array: pa.Array) -> pa.Array:
    """Write nested values as jsonb travels."""
    return json_text_wire(json_texts(array))


def json_text_wire(array: pa.Array) -> pa.Array:
    """Write texts of JSON as jsonb travels; the server checks that they are JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = (array.storage if isinstance(array, pa.ExtensionArray) else array).cast(pa.binary())
    return pc.binary_join_element_wise(pa.scalar(_JSONB_VERSION), text, pa.scalar(b""))


def uuid_wire(array: pa.Array) -> pa.Array:
    """Write texts of UUIDs as their 16 bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = array.cast(pa.string())
    present = text.drop_null()
    if not len(present):
        return pa.nulls(len(text), pa.binary(16))
    whole = pa.ListArray.from_arrays([0, len(present)], pc.replace_substring(present, "-", ""))
    digits = pc.binary_join(whole, "")[0].as_py()
    if len(digits) != 32 * len(present):
        raise pa.ArrowInvalid("not a UUID")
    packed = pa.py_buffer(bytes.fromhex(digits))
    found = pa.Array.from_buffers(pa.binary(16), len(present), [None, packed])
    if not text.null_count:
        return found
    places = pc.subtract(pc.cumulative_sum(pc.cast(text.is_valid(), pa.int64())), 1)
    return found.take(pc.if_else(text.is_valid(), places, None))


def _holds_nul(text: pa.Array) -> bool:
    data = text.buffers()[2]
    return data is not None and b"\0" in data.to_pybytes()
