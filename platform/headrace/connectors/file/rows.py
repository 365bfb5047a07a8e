"""Rows as the bytes of a file, piece by piece; and rows apart by the values of some columns."""

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.connectors import Output, Rejected
from headrace.connectors.kit.arrow.rendering import csv_header, csv_lines, json_lines, slices, texts

Format = Literal["parquet", "jsonl", "csv"]
_CHUNK = 1024 * 1024
_ROWS = 65_536
_BUFFERED = 64 * 1024 * 1024  # bytes of rows that wait for more of their partition
_OPEN_FILES = 512
_PARTITIONS = 10_000
_LONGEST_VALUE = 200  # characters, percent-encoded: file systems allow 255 bytes for a name
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What will be one file."""

    folder: str  # "country=DE/day=2024-01-31"; empty without partitions
    pieces: Callable[[], Iterator[bytes]]


def pieces(output: Output, form: Format) -> Iterator[bytes]:
    """Yield a run's rows as one file."""
    if form == "parquet":
        yield from _content(output.path)
        return
    if form == "csv" and output.schema.names:
        yield csv_header(output.schema.names, "texts")
    for batch in output.batches(_ROWS):
        yield from _lines(batch, form)


@contextmanager
def parts(output: Output, form: Format, columns: tuple[str, ...]) -> Iterator[list[Part]]:
    """Yield the files of a run's rows: one for each combination of values of the columns, or a few.

    They lie in a temporary folder until the block ends. Raises Rejected where the rows lack a column.
    """
    if not columns:
        yield [Part(folder="", pieces=lambda: pieces(output, form))]
        return
    with tempfile.TemporaryDirectory(prefix="headrace-parts-") as folder:
        partitions = _Partitions(Path(folder), form)
        try:
            for batch in output.batches(_ROWS):
                for key, rows in _apart(batch, columns):
                    partitions.add(key, rows)
            partitions.flush()
        finally:
            partitions.close()
        yield [
            Part(folder=key, pieces=lambda path=path: _content(path))  # type: ignore[misc]
            for key, path in partitions.files
        ]


class _Partitions:
    """Gathers the rows of each partition and appends them to its file; few files are open at a time."""

    def __init__(self, folder: Path, form: Format) -> None:
        self.files: list[tuple[str, Path]] = []
        self._folder = folder
        self._form = form
        self._waiting: dict[str, list[pa.RecordBatch]] = {}
        self._size = 0
        self._open: OrderedDict[str, _File] = OrderedDict()
        self._keys: set[str] = set()

    def add(self, key: str, rows: pa.RecordBatch) -> None:
        self._keys.add(key)
        if len(self._keys) > _PARTITIONS:
            raise Rejected(f"The rows have more than {_PARTITIONS:,} partitions: choose other columns.")
        self._waiting.setdefault(key, []).append(rows)
        self._size += rows.nbytes
        if self._size > _BUFFERED:
            self.flush()

    def flush(self) -> None:
        # All of them: the rows of one batch share its memory, so a few that waited on would hold all of it.
        for key in list(self._waiting):
            self._write(key)
        self._size = 0

    def close(self) -> None:
        for file in self._open.values():
            file.close()

    def _write(self, key: str) -> None:
        rows = pa.Table.from_batches(self._waiting.pop(key))
        file = self._open.pop(key, None)
        if file is None:
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            path = self._folder / str(len(self.files))
            self.files.append((key, path))
            file = _File(path, rows.schema, self._form)
        self._open[key] = file
        file.write(rows)


class _File:
    """One file that rows are appended to."""

    def __init__(self, path: Path, schema: pa.Schema, form: Format) -> None:
        self._form = form
        self._parquet: pq.ParquetWriter | None = None
        self._file: IO[bytes] | None = None
        if form == "parquet":
            self._parquet = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
        else:
            self._file = path.open("wb")
            if form == "csv":
                self._file.write(csv_header(schema.names, "texts"))

    def write(self, rows: pa.Table) -> None:
        if self._parquet is not None:
            self._parquet.write_table(rows)
            return
        assert self._file is not None
        for batch in rows.to_batches():
            self._file.writelines(_lines(batch, self._form))

    def close(self) -> None:
        for one in (self._parquet, self._file):
            if one is not None:
                one.close()


def _apart(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield each partition's folder and rows, in their order, without the columns that name the folder."""
    missing = [name for name in columns if name not in batch.schema.names]
    if missing:
        raise Rejected(f"The rows have no column {missing[0]!r} to be partitioned by.")
    if len(columns) == len(batch.schema.names):
        raise Rejected("Every column is one to partition by: nothing is left for the files.")
    if batch.num_rows == 0:
        return
    keys = pc.binary_join_element_wise(*(_segments(batch, name) for name in columns), "/")
    order = pc.sort_indices(keys)
    sorted_rows = batch.drop_columns(list(columns)).take(order)
    start = 0
    runs = pc.run_end_encode(keys.take(order))
    for key, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield key, sorted_rows.slice(start, end - start)
        start = end


def _segments(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The part `name=value` of each row's folder."""
    column = batch.column(name)
    if pa.types.is_nested(column.type) or "binary" in str(column.type):
        raise Rejected(f"The column {name!r} holds {column.type}: no value to name a folder by.")
    encoded = column.dictionary_encode(null_encoding="encode")
    names = [_segment(name, value) for value in texts(encoded.dictionary).to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def _segment(name: str, value: str | None) -> str:
    if value == NULL_FOLDER:
        raise Rejected(f"A value of {name!r} is {NULL_FOLDER}, which as a folder's name means null.")
    segment = f"{quote(name, safe=' ')}={NULL_FOLDER if value is None else quote(value, safe=' ')}"
    if len(segment) > _LONGEST_VALUE:
        raise Rejected(f"A value of {name!r} is too long to name a folder.")
    return segment


def kind_of(kind: pa.DataType) -> str:
    """Name what values a column holds, as far as readers must tell them apart."""
    is_ = pa.types
    kinds: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
        (is_.is_null, "nothing"),
        (is_.is_boolean, "booleans"),
        (lambda one: is_.is_integer(one) or is_.is_floating(one) or is_.is_decimal(one), "numbers"),
        (lambda one: is_.is_string(one) or is_.is_large_string(one) or is_.is_string_view(one), "text"),
        (lambda one: is_.is_binary(one) or is_.is_large_binary(one), "bytes"),
        (is_.is_date, "dates"),
        (is_.is_time, "times of day"),
        (lambda one: is_.is_timestamp(one) and one.tz is None, "times without a zone"),
        (is_.is_timestamp, "times with a zone"),
        (is_.is_struct, "objects"),
        (lambda one: is_.is_list(one) or is_.is_large_list(one), "lists"),
    )
    return next((name for test, name in kinds if test(kind)), str(kind))


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _lines(batch: pa.RecordBatch, form: Format) -> Iterator[bytes]:
    for rows in slices(batch):
        yield json_lines(rows) if form == "jsonl" else csv_lines(rows, "texts")


def chained(rows: Iterable[bytes], before_commit: Callable[[], None]) -> Iterator[bytes]:
    """Yield pieces and, after the last one, ask whether they may be published."""
    yield from rows
    before_commit()
