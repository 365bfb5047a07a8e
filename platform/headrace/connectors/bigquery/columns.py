"""How an output's columns become BigQuery's: names, types, and the file that a load job takes.

Every type is named to the load job; none is guessed. What BigQuery has no exact type for is text: nested
values as JSON (a repeated field can hold no null), unsigned 64-bit integers as NUMERIC, durations as
microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.connectors import Output, Rejected
from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.arrow.types import is_bytes, is_uuid, stored

if TYPE_CHECKING:
    import pyarrow as pa

ORDINAL = "headrace_row"
"""The row's place in the output: of two rows with one key, the later one wins."""

# https://cloud.google.com/bigquery/docs/schemas#reserved_column_names
_RESERVED = re.compile(r"(?i)^(_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier)")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column on its way into BigQuery."""

    source: str  # its name in the output
    name: str
    kind: str  # BigQuery's type
    arrow: pa.DataType  # what the uploaded file holds
    convert: Callable[[pa.Array], pa.Array] | None = None  # None: as it is

    @property
    def unchanged(self) -> bool:
        """Whether the output's own column can be uploaded."""
        return self.convert is None and self.source == self.name


def columns_of(schema: pa.Schema) -> list[Column]:
    """Choose each column's name and type. Raises Rejected when two names become one."""
    found: dict[str, Column] = {}
    for field in schema:
        column = _column(field)
        if column.name.lower() in found:
            other = found[column.name.lower()].source
            raise Rejected(f"Columns {other!r} and {field.name!r} would both be {column.name!r} in BigQuery.")
        found[column.name.lower()] = column
    return list(found.values())


def write(output: Output, columns: list[Column], path: Path, *, ordinal: bool) -> None:
    """Write the file to upload. Raises Rejected with the column for a value that BigQuery cannot hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field(column.name, column.arrow) for column in columns]
    schema = pa.schema([*fields, pa.field(ORDINAL, pa.int64())] if ordinal else fields)
    before = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in output.batches():
            arrays = [_converted(batch.column(column.source), column) for column in columns]
            if ordinal:
                arrays.append(pa.array(range(before, before + batch.num_rows), pa.int64()))
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            before += batch.num_rows


def _converted(array: pa.Array, column: Column) -> pa.Array:
    import pyarrow as pa

    try:
        return column.convert(array) if column.convert else array.cast(column.arrow)
    except (pa.ArrowException, ValueError, OverflowError):
        raise Rejected(
            f"Column {column.source!r} holds a value that BigQuery's {column.kind} cannot.",
            context={"column": column.source},
        ) from None


def _column(field: pa.Field) -> Column:
    import pyarrow as pa

    plain = stored(field.type)
    kind, arrow = _kind(plain)
    convert: Callable[[pa.Array], pa.Array] | None = None
    if pa.types.is_nested(plain):
        convert = json_texts
    elif arrow != field.type:
        convert = _conversion(plain, arrow)
    return Column(source=field.name, name=_name(field.name), kind=kind, arrow=arrow, convert=convert)


def _conversion(plain: pa.DataType, target: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    """Return what makes the uploaded array: exact, or else it raises."""
    import pyarrow as pa

    from headrace.connectors.kit.arrow.flat_texts import resolved
    from headrace.connectors.kit.arrow.rendering import texts

    if pa.types.is_string(target):
        return texts
    if pa.types.is_duration(plain):
        return lambda array: resolved(array).cast(pa.duration("us")).cast(target)
    return lambda array: resolved(array).cast(target)


def _name(name: str) -> str:
    """Return the name in letters, digits and underscores, as BigQuery's tables have them."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not plain or plain[0].isdigit() or _RESERVED.match(plain):
        plain = f"c_{plain}" if plain.startswith("_") else f"_{plain}"
    if len(plain) > 300:
        raise Rejected(f"The column name {plain[:40]!r}… has over 300 characters.")
    return plain


def _kind(data_type: pa.DataType) -> tuple[str, pa.DataType]:
    """Return BigQuery's type, and the Arrow type that a load job reads as it."""
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_boolean(data_type):
        return "BOOL", data_type
    if is_a.is_uint64(data_type):
        return "NUMERIC", pa.decimal128(20, 0)
    if is_a.is_integer(data_type):
        return "INT64", pa.int64()
    if is_a.is_floating(data_type):
        return "FLOAT64", pa.float64()
    if is_a.is_decimal(data_type):
        return _decimal(data_type)
    if is_uuid(data_type):
        return "STRING", pa.string()
    if is_bytes(data_type):
        return "BYTES", pa.binary()
    if is_a.is_temporal(data_type):
        return _temporal(data_type)
    return "STRING", pa.string()


def _decimal(data_type: pa.DataType) -> tuple[str, pa.DataType]:
    """By https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types."""
    import pyarrow as pa

    whole, scale = data_type.precision - data_type.scale, data_type.scale
    if scale < 0 or whole > 38 or scale > 38:
        return "STRING", pa.string()
    return ("NUMERIC" if whole <= 29 and scale <= 9 else "BIGNUMERIC"), data_type


def _temporal(data_type: pa.DataType) -> tuple[str, pa.DataType]:
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_date(data_type):
        return "DATE", pa.date32()
    if is_a.is_time(data_type):
        return "TIME", pa.time64("us")
    if is_a.is_timestamp(data_type):
        tz = "UTC" if data_type.tz else None
        return ("TIMESTAMP" if tz else "DATETIME"), pa.timestamp("us", tz)
    if is_a.is_duration(data_type):
        return "INT64", pa.int64()
    return "STRING", pa.string()
