"""Converts Parquet to CSV (RFC 4180) and to JSON lines, batch by batch, so memory does not grow with the
file.

pyarrow is imported by the first conversion: it takes 60 MB, which a service without downloads does not need.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_ROWS = 4096
_JSON = msgspec.json.Encoder(enc_hook=str, decimal_format="string")


def csv_lines(path: Path) -> Iterator[bytes]:
    """Yield a header and the rows.

    Null, NaN and infinity are empty fields. Lists and structs are JSON. Other values are as in JSON lines.
    """
    yield _csv([_names(path)])
    for batch in _batches(path):
        columns = [_fields(column) for column in batch.columns]
        yield _csv(zip(*columns, strict=True))


def json_lines(path: Path) -> Iterator[bytes]:
    """Yield an object for each row.

    Times and durations are ISO 8601, decimals are strings, binary is base64. NaN and infinity are null.
    """
    for batch in _batches(path):
        yield _JSON.encode_lines(batch.to_pylist())


def _names(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    names: list[str] = pq.read_schema(path).names
    return names


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        # Python's times have microseconds at best.
        fields = [field.with_type(_microseconds(field.type)) for field in file.schema_arrow]
        for batch in file.iter_batches(batch_size=_ROWS):
            yield batch.cast(pa.schema(fields), safe=False)


def _microseconds(data_type: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if getattr(data_type, "unit", None) != "ns":
        return data_type
    if pa.types.is_timestamp(data_type):
        return pa.timestamp("us", data_type.tz)
    return pa.time64("us") if pa.types.is_time(data_type) else pa.duration("us")


def _fields(column: pa.Array) -> list[Any]:
    """Return a column's values for `csv`, which writes None as an empty field."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    as_they_are = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    values: list[Any] = column.to_pylist()
    return values if any(is_type(column.type) for is_type in as_they_are) else [_field(v) for v in values]


def _field(value: Any) -> str:
    plain = msgspec.to_builtins(value, enc_hook=str)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else _JSON.encode(plain).decode()


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()
