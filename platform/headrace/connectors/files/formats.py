"""File formats to rows: exact, in bounded memory. Imports pyarrow, so only a running read imports it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from headrace.connectors import Unreadable
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.files.columnar import read_arrow, read_parquet
from headrace.connectors.files.csv import BrokenRow, Dialect, NotInEncoding, read_csv
from headrace.connectors.files.csv_columns import named
from headrace.connectors.files.csv_text import StrayQuote
from headrace.connectors.files.json_files import read_json, read_json_lines
from headrace.connectors.files.opening import COMPRESSIONS, opened
from headrace.connectors.files.sniffing import START, other_content
from headrace.connectors.kit.arrow.json_text import InvalidJSON
from headrace.connectors.kit.arrow.parsing import from_json, parsed

Format = Literal["csv", "jsonl", "json", "parquet", "arrow"]
Batches = Iterator[pa.RecordBatch | Sequence[dict[str, Any]]]
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


def read(
    path: Path,
    kind: Format,
    dialect: Dialect,
    warn: Warn = log_warning,
    schema: pa.Schema | None = None,
) -> Batches:
    """Yield a file's rows; gzip and zstd are told by its first bytes. Raises Unreadable.

    `schema` holds the columns that a file of text was written with, where that is known.
    """
    readers: dict[Format, Callable[[], Batches]] = {
        "csv": lambda: _csv(path, dialect, warn, schema),
        "jsonl": lambda: _json_lines(path, schema),
        "json": lambda: read_json(path),
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
    except InvalidJSON as invalid:
        raise NotWhole(f"The file is no valid {kind}: {invalid}.") from None
    except (NotInEncoding, UnicodeError):
        raise NotWhole(f"The file is no text in {dialect.encoding}: name its `encoding`.") from None
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
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


def _csv(path: Path, dialect: Dialect, warn: Warn, schema: pa.Schema | None) -> Batches:
    if schema is None:
        yield from read_csv(lambda: opened(path), dialect, warn)
        return
    for texts in read_csv(lambda: opened(path), replace(dialect, infer_types=False), warn):
        if texts.schema.names != schema.names:
            raise NotWhole("The file has other columns than it was written with.")
        arrays = [parsed(column, field.type) for column, field in zip(texts.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _json_lines(path: Path, schema: pa.Schema | None) -> Batches:
    if schema is None:
        yield from read_json_lines(path)
        return
    for rows in chain([()], read_json_lines(path)):  # a batch of no rows, too: it has the columns
        columns = [from_json([row[field.name] for row in rows], field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _refuse_other_content(path: Path, kind: Format, encoding: str) -> None:
    with opened(path) as file:
        other = other_content(file.read(START), kind, encoding)
    if other is not None:
        raise NotWhole(f"The file is no {kind}, but {other}.")


def _with_names(rows: Any) -> Any:
    """Name the columns that have no name: no destination has such."""
    if isinstance(rows, pa.RecordBatch):
        return rows if all(rows.schema.names) else rows.rename_columns(named(rows.schema.names))
    return rows
