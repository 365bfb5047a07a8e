"""What functions of other people's yield, as sources yield it: one record at a time is too little."""

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

_RECORDS = 5_000
_SECONDS = 1.0


def gathered(items: Any) -> Iterator[Any]:
    """Yield lists of records, batches and checkpoints, in the order in which they came.

    Single records wait for others for a second at most, tables become batches; None is nothing.
    """
    records: list[dict[str, Any]] = []
    due = time.monotonic() + _SECONDS
    for item in [items] if isinstance(items, dict | pa.Table | pa.RecordBatch) else items or ():
        if isinstance(item, dict):
            records.append(item)
        if records and (not isinstance(item, dict) or len(records) >= _RECORDS or time.monotonic() >= due):
            yield records
            records, due = [], time.monotonic() + _SECONDS
        if isinstance(item, pa.Table):
            yield from item.to_batches()
        elif not isinstance(item, dict):
            yield item
    if records:
        yield records
