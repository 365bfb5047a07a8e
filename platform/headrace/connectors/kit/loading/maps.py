"""Maps with a key twice, which Arrow has and some systems do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.connectors import Output, Rejected

if TYPE_CHECKING:
    import pyarrow as pa


def check_keys_of_maps(output: Output, system: str) -> None:
    """Raise Rejected with the column where a map has a key twice. Reads the rows only if there are maps."""
    columns = [field.name for field in output.schema if _has_map(field.type)]
    if not columns:
        return
    for batch in output.batches():
        for name in columns:
            if _has_key_twice(batch.column(name)):
                raise Rejected(
                    f"Column {name!r} holds a map with a key twice, which {system} cannot.",
                    context={"column": name},
                )


def _has_map(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_map(kind) or any(_has_map(kind.field(index).type) for index in range(kind.num_fields))


def _has_key_twice(array: pa.Array) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if not _has_map(kind):
        return False
    if pa.types.is_struct(kind):
        return any(_has_key_twice(part) for part in array.flatten())
    if not pa.types.is_map(kind):
        return _has_key_twice(pc.list_flatten(array))
    pairs = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    entries = pc.list_flatten(pairs)
    keys = entries.field("key")
    if pa.types.is_nested(keys.type):  # which cannot be grouped by
        from headrace.connectors.kit.arrow.rendering import texts

        keys = texts(keys)
    seen = pa.table({"map": pc.list_parent_indices(pairs), "key": keys})
    different = seen.group_by(["map", "key"], use_threads=False).aggregate([]).num_rows
    return different < seen.num_rows or _has_key_twice(entries.field("value"))
