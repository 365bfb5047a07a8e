"""Values of other types that come into a column of text: each is written in its one form as text.

A system's own cast would write times, durations, bytes and booleans in its own way, and could lose digits or
zones. docs/types.md has the forms.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.connectors.contract.destination import Output
from headrace.connectors.kit.arrow.types import TYPE_KEY, stored

if TYPE_CHECKING:
    import pyarrow as pa


def other_columns(schema: pa.Schema) -> set[str]:
    """Return the names of the columns whose values are neither text nor all null."""
    return {field.name for field in schema if not _is_text(field)}


@contextmanager
def written_as_text(output: Output, names: Collection[str]) -> Iterator[Output]:
    """Give a copy of the output whose columns of these names are text; it is removed at the end.

    Raises ValueError for values nested beyond 100 levels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headrace.connectors.kit.arrow.rendering import texts

    columns = [pa.field(field.name, pa.string()) if field.name in names else field for field in output.schema]
    schema = pa.schema(columns)
    with tempfile.TemporaryDirectory(prefix="texts-") as folder:
        path = Path(folder) / "output.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
            for batch in output.batches():
                arrays = [
                    texts(array).cast(pa.string()) if field.name in names else array
                    for array, field in zip(batch.columns, schema, strict=True)
                ]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        yield Output(path=path, schema=schema, rows=output.rows, size=path.stat().st_size)


def _is_text(field: pa.Field) -> bool:
    import pyarrow as pa

    kind = stored(field.type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.types.is_null(kind) or (is_text and TYPE_KEY not in (field.metadata or {}))
