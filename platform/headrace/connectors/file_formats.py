"""File formats to rows: exact, in bounded memory. Imports pyarrow, so only a running read imports it."""

import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from headrace.connectors.base import Unreadable

Batches = Iterator[pa.RecordBatch | list[dict[str, Any]]]
_GZIP = b"\x1f\x8b"
_CSV_BLOCK = 16 * 1024 * 1024  # the longest row that can be read
_JSON_BYTES = 8 * 1024 * 1024
_LINES = 10_000

# What a number or a boolean holds exactly; "007", "1e5" and what has over 15 digits stay text.
_CSV_TYPES: tuple[tuple[pa.DataType, str], ...] = (
    (pa.int64(), r"^(0|-?[1-9][0-9]{0,17})$"),
    (pa.float64(), r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"),
    (pa.bool_(), r"^(true|false)$"),
)


def read(path: Path, kind: Literal["csv", "jsonl", "parquet"], delimiter: str) -> Batches:
    """Yield a file's rows; gzip is told by its first bytes. Raises Unreadable."""
    readers: dict[str, Callable[[], Batches]] = {
        "csv": lambda: _read_csv(path, delimiter),
        "jsonl": lambda: _read_json_lines(path),
        "parquet": lambda: _read_parquet(path),
    }
    try:
        yield from readers[kind]()
    except (pa.ArrowInvalid, gzip.BadGzipFile, EOFError, UnicodeDecodeError, msgspec.DecodeError):
        # The parsers' own words quote the row.
        raise Unreadable(f"The file is not whole, valid {kind}.") from None


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        is_gzip = file.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path, "rb") if is_gzip else path.open("rb"))


def _read_parquet(path: Path) -> Batches:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches()


def _read_json_lines(path: Path) -> Batches:
    decoder = msgspec.json.Decoder()
    with _open(path) as file:
        while lines := file.readlines(_JSON_BYTES):
            chunks = iter(lines)
            while chunk := list(islice(chunks, _LINES)):
                yield [decoder.decode(line) for line in chunk if not line.isspace()]


def _read_csv(path: Path, delimiter: str) -> Batches:
    """Read twice: the first time to learn which columns hold nothing but numbers or booleans.

    pyarrow would infer the types from the first block, and fail on the first value that does not fit.
    """
    names = _header(path, delimiter)
    types = _csv_types(path, delimiter, names)
    for batch in _csv_text(path, delimiter, names):
        columns = [column.cast(types[name]) for name, column in zip(names, batch.columns, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, names)


def _csv_types(path: Path, delimiter: str, names: list[str]) -> dict[str, pa.DataType]:
    """The narrowest exact type of each column, over all of the file; text for one without values."""
    candidates = {name: list(_CSV_TYPES) for name in names}
    has_values = dict.fromkeys(names, False)
    for batch in _csv_text(path, delimiter, names):
        for name, column in zip(names, batch.columns, strict=True):
            has_values[name] = has_values[name] or column.null_count < len(column)
            candidates[name] = [one for one in candidates[name] if _all_match(column, one[1])]
    return {
        name: found[0][0] if found and has_values[name] else pa.string() for name, found in candidates.items()
    }


def _all_match(column: pa.Array, pattern: str) -> bool:
    return pc.all(pc.match_substring_regex(column, pattern)).as_py() is not False


def _header(path: Path, delimiter: str) -> list[str]:
    with _open(path) as file:
        first = file.readline(_CSV_BLOCK)
        if not first.strip(b"\xef\xbb\xbf\r\n"):
            return []
    with _open(path) as file:
        options = csv.ReadOptions(block_size=_CSV_BLOCK)
        names = list(csv.open_csv(file, options, _parse_options(delimiter)).schema.names)
    if len(set(names)) < len(names):
        raise Unreadable("Two columns of the file have one name.")
    return names


def _csv_text(path: Path, delimiter: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows as text: an empty field is null, and empty quotes are an empty text."""
    if not names:
        return
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with _open(path) as file:
        options = csv.ReadOptions(block_size=_CSV_BLOCK)
        yield from csv.open_csv(file, options, _parse_options(delimiter), convert)


def _parse_options(delimiter: str) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
