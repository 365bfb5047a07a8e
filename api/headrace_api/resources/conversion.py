"""Converts Parquet to CSV (RFC 4180) and to JSON lines, batch by batch, so memory does not grow with the
file or with the width of its rows.

pyarrow is imported by the first conversion: it takes 60 MB, which a service without downloads does not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.connectors import Output
from headrace.connectors.kit.arrow import rendering

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_ROWS = 4096
_SAMPLE = 8
_BYTES = 4 * 1024 * 1024


def csv_lines(path: Path) -> Iterator[bytes]:
    """Yield a header and the rows. A null is an empty field, an empty text a pair of quotes."""
    output = _output(path)
    yield rendering.csv_header(output.schema.names)
    for batch in _batches(output):
        yield rendering.csv_lines(batch)


def json_lines(path: Path) -> Iterator[bytes]:
    """Yield an object for each row."""
    for batch in _batches(_output(path)):
        yield rendering.json_lines(batch)


def _output(path: Path) -> Output:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    return Output(path=path, schema=schema, rows=rows, size=path.stat().st_size)


def _batches(output: Output) -> Iterator[pa.RecordBatch]:
    for batch in output.batches(_rows_at_once(output)):
        yield from rendering.slices(batch)


def _rows_at_once(output: Output) -> int:
    """Return how many rows are little memory: encoded, a text that repeats tells nothing of its length."""
    first = next(output.batches(_SAMPLE), None)
    width = first.nbytes // first.num_rows if first is not None and first.num_rows else 0
    return max(1, min(_ROWS, _BYTES // max(width, 1)))
