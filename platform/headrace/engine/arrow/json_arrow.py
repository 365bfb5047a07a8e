"""JSON text to Arrow without a Python object for each value, where that gives the same rows.

A page's values have just the types of the pages before it, most of the time: then Arrow's own parser reads
it, three times as quickly and without holding up the thread that fetches the next one. What that parser
refuses, or might change, goes the long way.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.widening import widen

_LARGEST_EXACT = 2**53  # integers above it are rounded where a column holds doubles
_MOST_CREDIT = 10  # refusals in a row after which a stream goes the long way for good
_ROWS = "rows"


class JsonArrow:
    """Turns one stream's pages into batches, by the types that its pages have had so far."""

    def __init__(self) -> None:
        self._schema = pa.schema([])
        self._credit = _MOST_CREDIT

    def batch(self, records: JsonRecords) -> pa.RecordBatch:
        """Return the records as `arrowize` would; columns that only other pages have are null.

        Raises NotJSON and NotRecords.
        """
        if self._schema.names and self._credit > 0:
            batch = _parsed(records.lists, self._schema)
            if batch is not None:
                self._credit = min(self._credit + 1, _MOST_CREDIT)
                return batch
            self._credit -= 1
        batch = arrowize(list(records))
        self._schema = widen(self._schema, batch.schema)
        return batch


def _parsed(lists: Sequence[bytes], schema: pa.Schema) -> pa.RecordBatch | None:
    """Return the rows of JSON lists of objects; None unless each has just the schema's types, exactly."""
    # One row for each list: Arrow reads a sequence of objects, and a list has commas in between.
    text = b"\n".join([b'{"%b":%b}' % (_ROWS.encode(), items) for items in lists])
    wrapped = pa.schema([(_ROWS, pa.list_(pa.struct(list(schema))))])
    try:
        if not text.isascii():
            text.decode()  # Arrow would take any bytes
        table = pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pj.ParseOptions(explicit_schema=wrapped, unexpected_field_behavior="error"),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None
    rows = pa.concat_arrays([chunk.flatten() for chunk in table.column(0).chunks])
    if rows.null_count or any(_may_be_rounded(column) for column in rows.flatten()):
        return None
    return pa.RecordBatch.from_struct_array(rows)


def _may_be_rounded(column: pa.Array) -> bool:
    if pa.types.is_floating(column.type):
        largest = pc.max(pc.abs(column)).as_py()
        return largest is not None and largest >= _LARGEST_EXACT
    return any(map(_may_be_rounded, _inner(column)))


def _inner(column: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(column.type):
        yield from (column.field(index) for index in range(column.type.num_fields))
    elif pa.types.is_list(column.type):
        yield column.flatten()
