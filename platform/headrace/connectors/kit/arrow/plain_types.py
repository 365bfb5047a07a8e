"""Arrow arrays in the types that Parquet has: the same values, without references, views and runs."""

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors.kit.arrow.flat_texts import resolved
from headrace.connectors.kit.arrow.rendering import texts

_KEPT_EXTENSIONS = ("arrow.uuid", "arrow.json")


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with `plain` columns; itself where they are."""
    if all(is_plain(field.type) for field in batch.schema):
        return batch
    columns = [column if is_plain(column.type) else plain(column) for column in batch.columns]
    fields = [field.with_type(c.type) for field, c in zip(batch.schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata))


def is_plain(kind: pa.DataType) -> bool:
    """Whether Parquet holds the type as it is."""
    is_ = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in _KEPT_EXTENSIONS
    if _is_view(kind) or is_.is_dictionary(kind) or is_.is_run_end_encoded(kind) or is_.is_float16(kind):
        return False
    if is_.is_interval(kind) or is_.is_union(kind):
        return False
    return all(is_plain(kind.field(index).type) for index in range(kind.num_fields))


def plain(array: pa.Array) -> pa.Array:
    """Return the values in a type that Parquet holds.

    Dictionaries and runs become the values that they stand for, views what they show, float16 float32, and
    extension types what they are made of. Intervals and unions become text.
    """
    is_ = pa.types
    if is_plain(array.type):
        return array
    array = resolved(array)
    kind = array.type
    if is_.is_interval(kind) or is_.is_union(kind):
        return texts(array)
    if is_.is_struct(kind):
        return _struct(array)
    if is_.is_map(kind):
        return _map(array)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind) or _is_list_view(kind):
        return _list(array)
    found = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary(), pa.float16(): pa.float32()}.get(
        kind
    )
    return array.cast(found) if found else array


def _struct(array: pa.StructArray) -> pa.Array:
    columns = [plain(array.field(index)) for index in range(array.type.num_fields)]
    fields = [field.with_type(c.type) for field, c in zip(array.type, columns, strict=True)]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=array.is_null())


def _list(array: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(offsets, plain(array.flatten()), mask=array.is_null())


def _map(array: pa.MapArray) -> pa.Array:
    offsets = array.offsets
    first, count = offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py()
    keys, items = plain(array.keys.slice(first, count)), plain(array.items.slice(first, count))
    start = pc.subtract(offsets, offsets[0])
    found = pa.MapArray.from_arrays(start, keys, items)
    return pc.if_else(array.is_valid(), found, None) if array.null_count else found


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) or _is_list_view(kind))


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))
