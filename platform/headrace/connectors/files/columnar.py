"""Parquet and Arrow files to record batches whose values are checked, in types that Parquet holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.connectors import Unreadable
from headrace.connectors.files.opening import plain_file
from headrace.connectors.kit.arrow.plain_types import plain_batch

_MOST = 2**63 - 1
_MOST_BYTES = 2**31 - 1
_BATCH_ROWS = 65_536  # pyarrow's own
_NANOSECONDS, _MICROSECONDS = _MOST // 10**9, _MOST // 10**6  # how many seconds from 1970 each reaches
_Unit = Literal["s", "us", "ns"]


class TimesBeyondRange(Unreadable):
    """A column of INT96 timestamps holds times that no one type of Arrow holds exactly."""

    code = "source.times_beyond_range"
    title = "Times beyond the range of their type"
    hint = "Write the file anew with timestamps of 64 bits, or leave it out of `paths`."


def read_parquet(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the row groups' batches."""
    with plain_file(path) as plain:
        with _parquet(plain, "s") as file:
            _check_sizes(file)
            unit = _unit_of_int96(plain, file)
        with _parquet(plain, unit) as file:
            yield _checked(_no_rows(file.schema_arrow))
            for batch in file.iter_batches():
                yield _checked(batch)


def read_arrow(path: Path) -> Iterator[pa.RecordBatch]:
    """Read the file format (Feather's second version, too), or else the stream format."""
    with plain_file(path) as plain, pa.memory_map(str(plain)) as file:
        if file.read(6) == b"ARROW1":
            with pa.ipc.open_file(file) as reader:
                yield _checked(_no_rows(reader.schema))
                for index in range(reader.num_record_batches):
                    yield _checked(reader.get_batch(index))
            return
        file.seek(0)
        with pa.ipc.open_stream(file) as stream:
            yield _checked(_no_rows(stream.schema))
            for batch in stream:
                yield _checked(batch)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch that says which columns a file has, be it without rows."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch in plain types. Raises ArrowInvalid where text is no UTF-8 or an offset is wrong."""
    batch.validate(full=True)
    return plain_batch(batch)


def _parquet(path: Path, int96: _Unit) -> pq.ParquetFile:
    return pq.ParquetFile(
        path,
        coerce_int96_timestamp_unit=int96,
        page_checksum_verification=True,
        arrow_extensions_enabled=True,
    )


def _check_sizes(file: pq.ParquetFile) -> None:
    """Raise ArrowInvalid where pyarrow would, but before it has decompressed gigabytes.

    Texts within lists and objects share offsets of 32 bits in a batch, and each takes four bytes more here.
    """
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for place in range(group.num_columns if group.num_rows <= _BATCH_ROWS else 0):
            chunk = group.column(place)
            is_nested = file.schema.column(place).max_repetition_level > 0
            is_text = chunk.physical_type == "BYTE_ARRAY"
            if is_nested and is_text and chunk.total_uncompressed_size - 4 * chunk.num_values > _MOST_BYTES:
                raise pa.ArrowInvalid("more than 2 GB of text in the lists of one row group")


def _unit_of_int96(path: Path, file: pq.ParquetFile) -> _Unit:
    """Return the finest unit that holds the file's INT96 timestamps, which pyarrow would let wrap round."""
    leaves = (file.schema.column(index) for index in range(len(file.schema)))
    columns = [leaf.path for leaf in leaves if leaf.physical_type == "INT96"]
    if not columns:
        return "ns"
    farthest = 0
    for batch in file.iter_batches(columns=columns):
        for _, times in _timestamps(batch):
            edges = pc.min_max(times.cast(pa.int64())).as_py()
            farthest = max(farthest, -(edges["min"] or 0), (edges["max"] or 0) + 1)
    if farthest <= _NANOSECONDS:
        return "ns"
    if farthest > _MICROSECONDS:
        raise TimesBeyondRange(f"{', '.join(columns)}: a time lies beyond the year 294247.")
    _check_microseconds(path, columns)
    return "us"


def _check_microseconds(path: Path, columns: list[str]) -> None:
    """Raise TimesBeyondRange where a time has nanoseconds, which microseconds would cut."""
    with _parquet(path, "ns") as fine, _parquet(path, "s") as coarse:
        both = zip(fine.iter_batches(columns=columns), coarse.iter_batches(columns=columns), strict=True)
        for batch, seconds in both:
            for (name, times), (_, far) in zip(_timestamps(batch), _timestamps(seconds), strict=True):
                in_range = pc.less(pc.abs(far.cast(pa.int64())), _NANOSECONDS)
                values = times.cast(pa.int64()).filter(in_range)
                cut = pc.multiply(pc.divide(values, 1_000), 1_000)
                if pc.any(pc.not_equal(cut, values)).as_py():
                    detail = (
                        "times beyond the year 2262 and others with nanoseconds, which no type holds both"
                    )
                    raise TimesBeyondRange(f"Column {name!r} holds {detail}.")


def _timestamps(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """Yield the arrays of timestamps in a batch, with the column that each is in."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for leaf in _leaves(column):
            if pa.types.is_timestamp(leaf.type):
                yield name, leaf


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(array.type):
        for child in array.flatten():
            yield from _leaves(child)
    elif pa.types.is_map(array.type):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_list(array.type):
        yield from _leaves(array.flatten())
    else:
        yield array
