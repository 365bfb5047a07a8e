"""CSV to Arrow: numbers and booleans where every value of a column is one, otherwise text as written."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from headrace.connectors import Unreadable

Open = Callable[[], AbstractContextManager[pa.NativeFile]]
_BLOCKS = (2 * 1024 * 1024, 64 * 1024 * 1024)  # the longest row that can be read; small is quick
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_SHORT_NUMBER = r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]*)\.[0-9]+$"
_BOOLEAN = r"^(true|false)$"
_EXACT_IN_DOUBLE = 10**15
_PLACE = re.compile(r"(?:Row #\d+: )?Expected \d+ columns, got \d+")


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How text files are to be understood."""

    delimiter: str
    encoding: str = "utf-8"
    infer_types: bool = True


class BrokenRow(Exception):
    """A row has another number of fields than the header. The text says where, and quotes nothing of it."""


class _RowTooLong(Exception):
    pass


def read_csv(open_file: Open, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows. It is read twice: types hold for the whole file only when all of it was seen.

    pyarrow would infer the types from the first block, and fail on the first value that does not fit.
    """
    for block in _BLOCKS:
        text = _Text(open_file, dialect, block)
        try:
            types = _types(text) if dialect.infer_types else dict.fromkeys(text.names, pa.string())
            yield from text.batches(types)
            return
        except _RowTooLong:
            if block == _BLOCKS[-1] or not dialect.infer_types:
                raise Unreadable(f"A row is longer than {block:,} bytes.") from None


class _Text:
    """One file as often as it is read."""

    def __init__(self, open_file: Open, dialect: Dialect, block: int) -> None:
        self._open_file = open_file
        self._read = csv.ReadOptions(block_size=block, encoding=dialect.encoding)
        self._parse = csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True)
        self.names = self._header()

    def batches(self, types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Yield the columns that are named: an empty field is null, and empty quotes are an empty text."""
        if not types:
            return
        convert = csv.ConvertOptions(
            include_columns=list(types),
            column_types=types,
            null_values=[""],
            true_values=["true"],
            false_values=["false"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )
        try:
            with self._open_file() as file, csv.open_csv(file, self._read, self._parse, convert) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            raise _understood(error) from None

    def _header(self) -> list[str]:
        with self._open_file() as file:
            if not file.read(4096).strip(b"\xef\xbb\xbf\r\n"):
                return []
        try:
            with self._open_file() as file, csv.open_csv(file, self._read, self._parse) as reader:
                names = list(reader.schema.names)
        except pa.ArrowInvalid as error:
            raise _understood(error) from None
        if len(set(names)) < len(names):
            raise Unreadable("Two columns of the file have one name.")
        return names


class _Guess:
    """The narrowest exact type of a column, as its values come."""

    def __init__(self) -> None:
        self._tests = {pa.int64(): _is_integer, pa.float64(): _is_number, pa.bool_(): _is_boolean}
        self._has_values = False

    @property
    def is_open(self) -> bool:
        return bool(self._tests)

    @property
    def type(self) -> pa.DataType:
        return next(iter(self._tests)) if self._tests and self._has_values else pa.string()

    def see(self, column: pa.Array) -> None:
        self._has_values = self._has_values or column.null_count < len(column)
        self._tests = {kind: test for kind, test in self._tests.items() if test(column)}


def _types(text: _Text) -> dict[str, pa.DataType]:
    """The types of all columns, over all of the file; text for one without values."""
    guesses = {name: _Guess() for name in text.names}
    first = text.batches(dict.fromkeys(text.names, pa.string()))
    for batch in first:
        _see(guesses, batch)
        break
    first.close()  # type: ignore[attr-defined] # a generator: its file is closed
    # Most columns are text and known to be after the first rows: the others alone are converted.
    still_open = [name for name in text.names if guesses[name].is_open]
    for batch in text.batches(dict.fromkeys(still_open, pa.string())):
        _see(guesses, batch)
    return {name: guesses[name].type for name in text.names}


def _see(guesses: dict[str, _Guess], batch: pa.RecordBatch) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        guesses[name].see(column)


def _is_integer(column: pa.Array) -> bool:
    return _all(pc.match_substring_regex(column, _INTEGER))


def _is_boolean(column: pa.Array) -> bool:
    return _all(pc.match_substring_regex(column, _BOOLEAN))


def _is_number(column: pa.Array) -> bool:
    """Whether a double holds every value: few digits, or just the digits that tell it from other doubles."""
    is_short = pc.match_substring_regex(column, _SHORT_NUMBER)
    if _all(is_short):
        return True
    long = column.filter(pc.invert(is_short))
    if not _all(pc.match_substring_regex(long, _PLAIN_NUMBER)):
        return _is_integer(long) and _is_exact_integer(long)
    return _all(pc.equal(long.cast(pa.float64()).cast(pa.string()), long))


def _is_exact_integer(column: pa.Array) -> bool:
    bounds = pc.min_max(column.cast(pa.int64())).as_py()
    return bool(bounds["min"] > -_EXACT_IN_DOUBLE and bounds["max"] < _EXACT_IN_DOUBLE)


def _all(matches: pa.Array) -> bool:
    return bool(pc.all(matches).as_py() is not False)


def _understood(error: pa.ArrowInvalid) -> Exception:
    words = str(error)
    if "straddling" in words:
        return _RowTooLong()
    place: Sequence[str] = _PLACE.findall(words)
    return BrokenRow(f"{place[0]}.") if place else error
