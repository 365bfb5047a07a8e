"""Ordered batches and the cursor that they end at, for sources that are asked in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headrace.connectors import Checkpoint, Cursor, ReadRequest, Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


def first_batches(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """Yield at most so many batches."""
    for number, batch in enumerate(batches, 1):
        yield batch
        if number == limit:
            return


def with_checkpoint(
    batches: Iterator[pa.RecordBatch], column: str, request: ReadRequest
) -> Iterator[pa.RecordBatch | Checkpoint]:
    """Yield batches that come in the cursor's order, and at last the cursor of the last row.

    A trial that ends early leaves out the rows that tie with its last one: the rest of them would come
    later, and the next run reads only what is greater.
    """
    cursor: Cursor | None = request.cursor
    for batch in _cut(batches, column, request.max_iterations):
        yield batch
        cursor = _last_cursor(batch, column, cursor)
    if cursor is not None:
        yield Checkpoint(cursor=cursor)


def _cut(batches: Iterator[pa.RecordBatch], column: str, limit: int | None) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for number, batch in enumerate(batches, 1):
        if limit is None or number < limit:
            yield batch
            continue
        held.append(batch)
        whole = _before_last(pa.concat_batches(held), column)
        if whole.num_rows:
            yield whole
            return
    yield from held  # the stream ended here: no row that ties with the last one is still to come


def _before_last(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    import pyarrow.compute as pc

    values = batch.column(column)
    # A row without a value ties with none.
    return batch.filter(pc.fill_null(pc.not_equal(values, values[-1]), True)) if batch.num_rows else batch


def _last_cursor(batch: pa.RecordBatch, column: str, before: Cursor | None) -> Any:
    """Return the last value as JSON: integers and text as they are, the rest as SQL reads it back."""
    import pyarrow as pa

    values = batch.column(column).drop_null()
    if not len(values):
        return before
    last = values[-1]
    try:
        plain = last.as_py()
    except (OverflowError, ValueError):  # Arrow's own text of such times is wrong
        raise Unreadable(f"Column {column!r} holds a time after the year 9999: no cursor.") from None
    return plain if pa.types.is_integer(last.type) else last.cast(pa.string()).as_py()
