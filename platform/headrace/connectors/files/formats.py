"""File formats to rows: exact, in bounded memory. Imports pyarrow, so only a running read imports it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import pyarrow as pa

from headrace.connectors import Unreadable
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.files.columnar import read_arrow, read_parquet
from headrace.connectors.files.csv import BrokenRow, Dialect, read_csv
from headrace.connectors.files.csv_columns import named
from headrace.connectors.files.csv_text import StrayQuote
from headrace.connectors.files.opening import BYTE_ORDER_MARK, COMPRESSIONS, opened, plain_file
from headrace.connectors.files.sniffing import START, other_content

Format = Literal["csv", "jsonl", "json", "parquet", "arrow"]
Batches = Iterator[pa.RecordBatch | list[dict[str, Any]]]
FORMATS: tuple[Format, ...] = get_args(Format)
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


def read(path: Path, kind: Format, dialect: Dialect, warn: Warn = log_warning) -> Batches:
    """Yield a file's rows; gzip and zstd are told by its first bytes. Raises Unreadable."""
    readers: dict[Format, Callable[[], Batches]] = {
        "csv": lambda: read_csv(lambda: opened(path), dialect, warn),
        "jsonl": lambda: _read_json_lines(path),
        "json": lambda: _read_json(path),
        "parquet": lambda: read_parquet(path),
        "arrow": lambda: read_arrow(path),
    }
    try:
        _refuse_other_content(path, kind, dialect.encoding)
        for rows in readers[kind]():
            yield _with_names(rows)
    except BrokenRow as broken:
        raise NotWhole(f"The file is no valid {kind}: {broken}") from None
    except StrayQuote:
        raise NotWhole("A quote is never closed, or more than a delimiter follows a closing quote.") from None
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


def _refuse_other_content(path: Path, kind: Format, encoding: str) -> None:
    with opened(path) as file:
        other = other_content(file.read(START), kind, encoding)
    if other is not None:
        raise NotWhole(f"The file is {other}, in the place of {kind}.")


def _with_names(rows: Any) -> Any:
    """Name the columns that have no name: no destination has such."""
    if isinstance(rows, pa.RecordBatch):
        return rows if all(rows.schema.names) else rows.rename_columns(named(rows.schema.names))
    return rows


def _read_json_lines(path: Path) -> Batches:
    decoder = msgspec.json.Decoder()
    with opened(path) as file:
        rest = file.read(3).removeprefix(BYTE_ORDER_MARK)
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
    with plain_file(path) as plain, duckdb.connect(config=dict(_DUCKDB)) as connection:
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
