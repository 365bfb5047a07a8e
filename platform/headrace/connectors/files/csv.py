"""CSV to Arrow: numbers and booleans where every value of a column is one, otherwise text as written."""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import csv

from headrace.connectors import RunWarning, Unreadable
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.files.csv_columns import column_names
from headrace.connectors.files.csv_text import Feed, Open, QuoteCheck, StrayQuote, check_quotes
from headrace.connectors.files.csv_types import types_of

_BLOCKS = (2 * 1024 * 1024, 64 * 1024 * 1024)  # the longest row that can be read; small is quick
_PLACE = re.compile(r"(?:Row #\d+: )?Expected \d+ columns, got \d+")
_NULS = "NUL characters in CSV fields: a file that was cut off and filled up, or another encoding."
_EMPTY = "A CSV file is empty: it has no header and no rows."


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How text files are to be understood."""

    delimiter: str
    encoding: str = "utf-8"
    infer_types: bool = True
    header: bool = True
    names: tuple[str, ...] = ()  # in place of the header's


class BrokenRow(Exception):
    """A row has another number of fields than the header. The text says where, and quotes nothing of it."""


class NotInEncoding(Exception):
    """The bytes are no text in the encoding that the file is read in."""


class _RowTooLong(Exception):
    pass


def read_csv(open_file: Open, dialect: Dialect, warn: Warn = log_warning) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows. It is read twice: types hold for the whole file only when all of it was seen.

    pyarrow would infer the types from the first block, and fail on the first value that does not fit.
    """
    for block in _BLOCKS:
        try:
            text = _Text(open_file, dialect, block)
            types = types_of(text) if dialect.infer_types else dict.fromkeys(text.names, pa.string())
            yield from text.rows(types)
        except _RowTooLong:
            if block == _BLOCKS[-1] or not dialect.infer_types:
                raise Unreadable(f"A row is longer than {block:,} bytes.") from None
        else:
            for warning in text.warnings:
                warn(warning)
            return


class _Text:
    """One file as often as it is read."""

    def __init__(self, open_file: Open, dialect: Dialect, block: int) -> None:
        self._open_file = open_file
        self._dialect = dialect
        self._block = block
        first_row = self._first_row()
        found = column_names(first_row, given=dialect.names, header=dialect.header)
        self.names: Sequence[str] = found.names
        self.warnings = list(found.warnings)
        if not first_row:
            self.warnings.append(RunWarning(code="source.file_empty", detail=_EMPTY))

    def columns(self, names: Sequence[str]) -> Generator[pa.RecordBatch]:
        """Yield some columns as text."""
        if names:
            yield from self._batches(self._feed(), dict.fromkeys(names, pa.string()))

    def rows(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Yield all columns. Raises StrayQuote where a quote is never closed, or readers would differ."""
        if not types:
            return
        quotes = QuoteCheck(self._dialect.delimiter)
        feed = self._feed(quotes)
        held: pa.RecordBatch | None = None
        for batch in self._batches(feed, types):
            if held is not None:
                yield held
            held = batch
        if held is None or any(column.null_count == 0 for column in held.slice(held.num_rows - 1).columns):
            raise StrayQuote  # it has swallowed the last row, which is the feed's
        if not quotes.is_regular:
            check_quotes(self._open_file, self._dialect.encoding, self._dialect.delimiter)
        if feed.nuls:
            self.warnings.append(RunWarning(code="source.nul_characters", detail=_NULS, count=feed.nuls))
        yield held.slice(0, held.num_rows - 1)  # of no rows, too: it has the columns

    def _feed(self, quotes: QuoteCheck | None = None) -> Feed:
        end = self._dialect.delimiter * (len(self.names) - 1) + "\n"
        return Feed(self._open_file, self._dialect.encoding, end.encode(), quotes)

    def _batches(self, feed: Feed, types: Mapping[str, pa.DataType]) -> Generator[pa.RecordBatch]:
        """Yield the columns that are named: an empty field is null, and empty quotes are an empty text."""
        read = csv.ReadOptions(
            block_size=self._block,
            column_names=list(self.names),
            skip_rows_after_names=1 if self._dialect.header else 0,
        )
        convert = csv.ConvertOptions(
            include_columns=list(types),
            column_types=dict(types),
            null_values=[""],
            true_values=["true"],
            false_values=["false"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=True,
            decimal_point=".",
            auto_dict_encode=False,
        )
        try:
            with feed, csv.open_csv(feed, read, self._parse_options(), convert) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            raise _understood(error) from None

    def _parse_options(self) -> csv.ParseOptions:
        return csv.ParseOptions(
            delimiter=self._dialect.delimiter,
            quote_char='"',
            double_quote=True,
            escape_char=False,
            newlines_in_values=True,
            # A blank line is a row where there is one column, and no row where there are several.
            ignore_empty_lines=len(self.names) != 1,
        )

    def _first_row(self) -> list[str]:
        """Return the first row's fields; nothing for a file without any."""
        self.names = ("", "")  # blank lines before the first row are none
        with Feed(self._open_file, self._dialect.encoding, b"") as feed:
            if not feed.read(1):
                return []
        feed = Feed(self._open_file, self._dialect.encoding, b"")
        try:
            with (
                feed,
                csv.open_csv(feed, csv.ReadOptions(block_size=self._block), self._parse_options()) as reader,
            ):
                return list(reader.schema.names)
        except pa.ArrowInvalid as error:
            raise _understood(error) from None


def _understood(error: pa.ArrowInvalid) -> Exception:
    words = str(error)
    if "straddling" in words:
        return _RowTooLong()
    if "invalid UTF8" in words:
        return NotInEncoding()
    place: Sequence[str] = _PLACE.findall(words)
    return BrokenRow(f"{place[0]}.") if place else error
