"""Arrow rows as text: JSON lines and CSV."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

_ENCODER = msgspec.json.Encoder(decimal_format="string")


def json_lines(batch: pa.RecordBatch) -> bytes:
    """Write one JSON object a line. Times as ISO 8601, decimals as text, bytes as base64, NaN as null."""
    return _ENCODER.encode_lines(batch.to_pylist())


def flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with nested columns as JSON text and bytes as base64, as CSV needs them."""
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_null(field.type):
            values = [_flat(value) for value in batch.column(index).to_pylist()]
            batch = batch.set_column(index, field.name, pa.array(values, pa.string()))
    return batch


def _flat(value: Any) -> str | None:
    if value is None:
        return None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else _ENCODER.encode(value).decode()
