"""Hashes that tell rows apart, the same whatever page, batch or type their values came in."""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors.kit.arrow.order import plain
from headrace.connectors.kit.arrow.rendering import texts

SIZE = 8  # bytes: two of 100,000 rows share a hash once in three thousand million runs
_EMPTY = b"\0"
_END = b"\x1f"
_EXACT_FLOAT = 2.0**53  # up to which a double holds every integer


def row_hashes(rows: pa.RecordBatch) -> list[bytes]:
    """Return each row's hash. A column that is null or missing makes no difference, nor does their order.

    A value counts by its text: 1 and 1.0 and "1" are the same, and so are the decimals 1.5 and 1.50.
    """
    names = sorted(rows.schema.names)
    columns = [
        (name.encode("utf-8", "surrogatepass") + b"=", _texts(rows.column(name)))
        for name in names
        if not pa.types.is_null(rows.schema.field(name).type)
    ]
    hashes = []
    for index in range(rows.num_rows):
        row = blake2b(digest_size=SIZE)
        for label, values in columns:
            text = values[index]
            if text is not None:
                row.update(label + len(text).to_bytes(8, "little") + text)
        hashes.append(row.digest())
    return hashes


def packed(hashes: "Counter[bytes]") -> bytes:
    """Write a multiset of hashes as bytes, a hash as often as it occurs."""
    return b"".join(sorted(hashes.elements()))


def unpacked(data: bytes) -> "Counter[bytes]":
    """Read what `packed` has written."""
    return Counter(data[start : start + SIZE] for start in range(0, len(data), SIZE))


def _texts(column: pa.Array) -> Sequence[bytes | None]:
    column = plain(column)
    kind = column.type
    if pa.types.is_struct(kind):
        return _structs(column)
    if pa.types.is_map(kind):
        return _lists(column, pa.StructArray.from_arrays([column.keys, column.items], ["key", "value"]))
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    if pa.types.is_nested(column.type):
        return _lists(column, column.values)
    return _flat(_alike(column))


def _alike(column: pa.Array) -> pa.Array:
    """Return values that give one text, whatever scale, unit or kind of number a batch has them in."""
    kind = column.type
    if pa.types.is_floating(kind):
        return _floats(column.cast(pa.float64()))
    if pa.types.is_decimal(kind):
        digits = pc.replace_substring_regex(texts(column), r"(\.\d*?)0+$", r"\1")
        return pc.replace_substring_regex(digits, r"\.$", "")
    if pa.types.is_timestamp(kind) and kind.tz:
        column = column.cast(pa.timestamp(kind.unit, "UTC"))
    return texts(column) if pa.types.is_temporal(kind) else column


def _floats(column: pa.Array) -> pa.Array:
    """Write whole numbers as integers are written; of -0.0 and 0.0 one text."""
    column = pc.add(column, pa.scalar(0.0))
    is_whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), pa.scalar(_EXACT_FLOAT)))
    whole = pc.if_else(is_whole, column, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(whole, column.cast(pa.string()))


def _flat(column: pa.Array) -> Sequence[bytes | None]:
    if not pa.types.is_binary(column.type):
        try:
            column = column.cast(pa.string()).cast(pa.binary())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return [str(value.as_py()).encode() if value.is_valid else None for value in column]
    texts: Sequence[bytes | None] = column.to_pylist()
    return texts


def _structs(column: pa.StructArray) -> Sequence[bytes | None]:
    fields = [
        (column.type.field(index).name.encode() + b"=", _texts(column.field(index)))
        for index in range(column.type.num_fields)
    ]
    fields.sort(key=lambda field: field[0])
    valid = column.is_valid().to_pylist()
    return [
        _joined([label + text for label, texts in fields if (text := texts[row]) is not None])
        if valid[row]
        else None
        for row in range(len(column))
    ]


def _lists(column: pa.Array, values: pa.Array) -> Sequence[bytes | None]:
    """`values` are those of the whole array that `column` may be a slice of."""
    texts = _texts(values)
    offsets = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    return [
        _joined([text or _EMPTY for text in texts[offsets[row] : offsets[row + 1]]]) if valid[row] else None
        for row in range(len(column))
    ]


def _joined(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts) + _END


def known_rows(known: "Counter[bytes]", places: pa.Array, rows: pa.RecordBatch) -> list[int]:
    """Return the places of rows that are among the known ones, and take them from there."""
    old = []
    for index, digest in zip(places.to_pylist(), row_hashes(rows), strict=True):
        if known[digest] > 0:
            known[digest] -= 1
            old.append(index)
    return old
