"""The output file of a run: streamed into place once, and published whole or not at all."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.connectors import Output
from headrace.engine.arrow.conforming import Inexact, conform, storable, with_text
from headrace.engine.arrow.widening import widen
from headrace.errors import HeadraceError, is_disk_full

_GROUP_ROWS = 122_880  # exactly DuckDB's row group: other sizes double its work and its file
_GROUP_BYTES = 64 * 1024 * 1024
_SAMPLE_ROWS = 10_000
_NOTE = "headrace."
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class DiskFull(HeadraceError):
    """The disk was full. The partial output has been deleted."""

    code = "run.disk_full"
    title = "Disk full"
    hint = "Free space in the home folder's outputs, or move the home folder; then run again."


class PublishedBefore(HeadraceError):
    """Another attempt at the output has published it: one that was thought to be gone, or its successor."""

    code = "run.published_before"
    title = "Output published before"
    hint = "Run again."


class OutputWriter:
    """Writes batches of drifting schemas into one Parquet file, in bounded memory.

    Rows are collected into row groups. While one row group is compressed in another thread, the next is
    collected. A row group with a wider schema than the current part starts a new part; `finish` merges the
    parts into one file with the widest schema. Leaving the context without `finish` deletes all parts.

    Parts are written to the folder `parts`, on the same disk; by default beside the file. Attempts of one run
    need a folder each: one that is paused and wakes up must not write into the parts of the next.
    """

    def __init__(
        self,
        path: Path,
        widened: Callable[[pa.Schema, pa.Schema], None] = lambda old, new: None,
        *,
        parts: Path | None = None,
    ):
        self._path = path
        self._unfinished = (parts or path.parent) / path.name
        self._widened = widened
        self._schema = pa.schema([])
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_rows = self._gathered_bytes = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="headrace-output")
        self._writing: Future[None] | None = None
        self._part: pq.ParquetWriter | None = None
        self._parts: list[Path] = []
        self._notes: dict[str, str] = {}
        self.rows = 0
        self.bytes = 0  # of Arrow memory

    def __enter__(self) -> Self:
        with _disk():
            self._path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gathered = []
        self._abandon()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch. Raises DiskFull, possibly for the rows of an earlier call."""
        if batch.num_rows == 0 and not batch.schema.names:
            return
        schema = widen(self._schema, batch.schema)
        if schema is not self._schema:
            if self._schema.names:
                self._widened(self._schema, schema)
            self._schema = schema
        self._gathered.append(batch)
        self._gathered_rows += batch.num_rows
        self._gathered_bytes += batch.nbytes
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        while self._gathered_rows >= _GROUP_ROWS or self._gathered_bytes >= _GROUP_BYTES:
            self._flush()

    def finish(
        self, notes: Mapping[str, str] | None = None, publishing: Callable[[], None] = lambda: None
    ) -> Output:
        """Publish the file, with notes in its metadata, and return it. Raises DiskFull, PublishedBefore.

        `publishing` is called when the file is whole, before it gets its name. A file of that name stays.
        """
        self._notes = {f"{_NOTE}{name}": text for name, text in (notes or {}).items()}
        if self._gathered or not (self._parts or self._writing):
            self._flush()
        self._settle()
        self._close_part()
        whole = self._parts[0] if len(self._parts) == 1 else self._merge()
        with _disk():
            _sync(whole)
            publishing()
            _publish(whole, self._path)
        schema = storable(self._schema)
        return Output(path=self._path, schema=schema, rows=self.rows, size=self._path.stat().st_size)

    def _flush(self) -> None:
        table = self._conformed(self._gathered)
        rest = table.slice(_GROUP_ROWS)
        self._gathered = rest.to_batches()
        self._gathered_rows, self._gathered_bytes = rest.num_rows, rest.nbytes
        table = table.slice(0, _GROUP_ROWS)
        self._settle()  # at most two row groups are in memory: this one and the next
        self._writing = self._thread.submit(self._write, table)

    def _write(self, table: pa.Table) -> None:
        with _disk():
            if self._part is None or not self._part.schema.equals(table.schema):
                self._close_part()
                path = self._unfinished.with_name(f"{self._path.name}.part{len(self._parts)}")
                self._parts.append(path)
                self._part = _parquet_writer(path, table)
            self._part.write_table(table, row_group_size=max(table.num_rows, 1))

    def _settle(self) -> None:
        """Wait until the flushed rows are written. Raises the error of that write."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _conformed(self, batches: list[pa.RecordBatch]) -> pa.Table:
        """Return the batches as one table. A column that does not fit its type exactly becomes text."""
        while True:
            schema = storable(self._schema)
            try:
                return pa.Table.from_batches([conform(batch, schema) for batch in batches], schema)
            except Inexact as inexact:
                self._schema = with_text(self._schema, inexact.column)

    def _merge(self) -> Path:
        """Merge the parts into one file with the widest schema. Start over if a column becomes text."""
        merged = self._unfinished.with_name(f"{self._path.name}.merged")
        self._parts.append(merged)
        while True:
            try:
                with _disk():
                    self._copy_parts(merged)
                return merged
            except Inexact as inexact:
                self._schema = with_text(self._schema, inexact.column)

    def _copy_parts(self, merged: Path) -> None:
        groups = (group for part in self._parts if part != merged for group in _row_groups(part))
        schema = storable(self._schema)
        writer: pq.ParquetWriter | None = None
        try:
            for group in groups:
                batches = [conform(batch, schema) for batch in group.to_batches()]
                table = pa.Table.from_batches(batches, schema)
                writer = writer or _parquet_writer(merged, table)
                writer.write_table(table, row_group_size=max(table.num_rows, 1))
        finally:
            if writer is not None:
                writer.add_key_value_metadata(self._notes)
                writer.close()

    def _close_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            with _disk():
                part.add_key_value_metadata(self._notes)
                part.close()

    def _abandon(self) -> None:
        self._thread.shutdown()  # first: after an interrupt it is still writing
        with suppress(OSError, HeadraceError):  # the file is deleted anyway
            self._close_part()
        for part in self._parts:
            part.unlink(missing_ok=True)


def open_output(path: Path) -> tuple[Output, dict[str, str]]:
    """Return a finished output file and its notes."""
    with pq.ParquetFile(path) as file:
        schema, rows, metadata = file.schema_arrow, file.metadata.num_rows, file.metadata.metadata
    notes = {
        key.decode().removeprefix(_NOTE): text.decode()
        for key, text in (metadata or {}).items()
        if key.startswith(_NOTE.encode())
    }
    output = Output(path=path, schema=schema.with_metadata(None), rows=rows, size=path.stat().st_size)
    return output, notes


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            yield file.read_row_group(index)


def _parquet_writer(path: Path, sample: pa.Table) -> pq.ParquetWriter:
    """Open a part. Use dictionaries only for strings that repeat: for distinct strings they cost time."""
    strings = [
        f.name for f in sample.schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
    ]
    return pq.ParquetWriter(
        path,
        sample.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in strings if _repeats(sample.column(name))],
        write_statistics=[f.name for f in sample.schema if not pa.types.is_nested(f.type)],
    )


def _repeats(column: pa.ChunkedArray) -> bool:
    sample = column.slice(0, _SAMPLE_ROWS)
    return len(sample) > 0 and pc.count_distinct(sample).as_py() <= len(sample) // 10


def _publish(whole: Path, path: Path) -> None:
    """Give the file its name, then flush the folder's entry. Its bytes are on the disk.

    By a link, which replaces nothing: another attempt may be loading the file that is there. The unfinished
    name goes with the other parts.
    """
    try:
        path.hardlink_to(whole)
    except FileExistsError:
        raise PublishedBefore("Another attempt of the run has published its output first.") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        whole.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull("The disk is full: the run's output could not be written.") from None
        raise
