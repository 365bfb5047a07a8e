"""File formats to rows: exact, in bounded memory. Imports pyarrow, so only a running read imports it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.connectors import Unreadable
from headrace.connectors.files.csv import BrokenRow, Dialect, read_csv

Format = Literal["csv", "jsonl", "json", "parquet", "arrow"]
Batches = Iterator[pa.RecordBatch | list[dict[str, Any]]]
FORMATS: tuple[Format, ...] = get_args(Format)
COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1024 * 1024
_JSON_BYTES = 4 * 1024 * 1024
_RECORDS = 10_000
_LARGEST_RECORD = 64 * 1024 * 1024
_DUCKDB = {"autoinstall_known_extensions": "false", "memory_limit": "512MB", "threads": "1"}


class NotWhole(Unreadable):
    """A file is cut off, or does not hold what its format says."""

    code = "source.file_not_whole"
    title = "File cannot be read as its format"
    hint = "Open the file with another tool, name its `format`, or leave it out of `paths`."


def format_of(name: str) -> Format | None:
    """Tell the format by a name's ending, below that of a compression; None for an unknown one."""
    endings = [ending.lower() for ending in Path(name).suffixes]
    while endings and endings[-1] in COMPRESSIONS:
        endings.pop()
    return _ENDINGS.get(endings[-1]) if endings else None


def read(path: Path, kind: Format, dialect: Dialect) -> Batches:
    """Yield a file's rows; gzip and zstd are told by its first bytes. Raises Unreadable."""
    readers: dict[Format, Callable[[], Batches]] = {
        "csv": lambda: read_csv(lambda: opened(path), dialect),
        "jsonl": lambda: _read_json_lines(path),
        "json": lambda: _read_json(path),
        "parquet": lambda: _read_parquet(path),
        "arrow": lambda: _read_arrow(path),
    }
    try:
        yield from readers[kind]()
    except BrokenRow as broken:
        raise NotWhole(f"The file is no valid {kind}: {broken}") from None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeError, msgspec.DecodeError):
        # The parsers' own words quote the row.
        raise NotWhole(f"The file is not whole, valid {kind}.") from None


def with_column(rows: Any, column: str | None, value: str) -> Any:
    """Return rows with one more column, the same value in each. Raises Unreadable where there is one."""
    if column is None:
        return rows
    taken = rows.schema.names if isinstance(rows, pa.RecordBatch) else {name for row in rows for name in row}
    if column in taken:
        raise Unreadable(f"The file has a column {column!r} of its own: give `file_column` another name.")
    if isinstance(rows, pa.RecordBatch):
        return rows.append_column(column, pa.repeat(value, rows.num_rows))
    return [{**row, column: value} for row in rows]


@contextmanager
def opened(path: Path) -> Iterator[pa.NativeFile]:
    """Open a file for reading once, from its start to its end, decompressed on the way."""
    with path.open("rb") as raw:
        compression = _compression(raw.read(4))
    file = pa.OSFile(str(path))
    with pa.CompressedInputStream(file, compression) if compression else file as stream:
        yield stream


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """The file itself where it can be read at any place, or else a decompressed copy."""
    with path.open("rb") as raw:
        start = raw.read(4)
    if _compression(start) is None and not start.startswith(_BYTE_ORDER_MARK):
        yield path
        return
    with opened(path) as stream, tempfile.NamedTemporaryFile(prefix="headrace-") as copy:
        copy.write(stream.read(3).removeprefix(_BYTE_ORDER_MARK))
        while chunk := stream.read(_CHUNK):
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)


def _compression(start: bytes) -> str | None:
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def _read_parquet(path: Path) -> Batches:
    with _plain(path) as plain, pq.ParquetFile(plain) as file:
        for batch in file.iter_batches():
            yield _decoded(batch)


def _read_arrow(path: Path) -> Batches:
    """Read the file format (Feather's second version, too), or else the stream format."""
    with _plain(path) as plain, pa.memory_map(str(plain)) as file:
        if file.read(6) == b"ARROW1":
            with pa.ipc.open_file(file) as reader:
                for index in range(reader.num_record_batches):
                    yield _decoded(reader.get_batch(index))
            return
        file.seek(0)
        with pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield _decoded(batch)


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Values in the place of references into dictionaries, which differ from batch to batch."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_dictionary(field.type):
            batch = batch.set_column(index, field.name, batch.column(index).dictionary_decode())
    return batch


def _read_json_lines(path: Path) -> Batches:
    decoder = msgspec.json.Decoder()
    with opened(path) as file:
        rest = file.read(3).removeprefix(_BYTE_ORDER_MARK)
        while chunk := file.read(_JSON_BYTES):
            lines, end, rest = (rest + chunk).rpartition(b"\n")
            if end:
                yield from _in_parts(decoder.decode_lines(lines))
        yield from _in_parts(decoder.decode_lines(rest))


def _in_parts(records: list[Any]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(records), _RECORDS):
        yield records[start : start + _RECORDS]


def _read_json(path: Path) -> Batches:
    """Read one array of records, or records one after the other.

    DuckDB cuts the document into its records, which keep their text: an array need not be held as a whole.
    """
    import duckdb

    decoder = msgspec.json.Decoder()
    reader: pa.RecordBatchReader
    with _plain(path) as plain, duckdb.connect(config=dict(_DUCKDB)) as connection:
        try:
            reader = connection.sql(
                "SELECT json FROM read_json_objects(?, format = 'auto', compression = 'none',"
                " maximum_object_size = ?)",
                params=[str(plain), _LARGEST_RECORD],
            ).to_arrow_reader(_RECORDS)
            for batch in reader:
                yield [decoder.decode(text) for text in batch.column(0).to_pylist()]
        except duckdb.Error:
            raise NotWhole("The file is not whole, valid json.") from None
