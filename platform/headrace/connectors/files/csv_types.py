"""The type of a CSV column: the narrowest that holds each of its values as it is written."""

from collections.abc import Generator, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_SHORT_NUMBER = r"^-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$"
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]*)\.[0-9]+$"
_BOOLEAN = r"^(true|false)$"
_EXACT_IN_DOUBLE = 10**15


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
        if not self._has_values:
            return pa.null()  # an absence says nothing of the type
        return next(iter(self._tests)) if self._tests else pa.string()

    def see(self, column: pa.Array) -> None:
        self._has_values = self._has_values or column.null_count < len(column)
        self._tests = {kind: test for kind, test in self._tests.items() if test(column)}


class Text(Protocol):
    """A file whose columns are read as text, as often as needed."""

    names: Sequence[str]

    def columns(self, names: Sequence[str]) -> Generator[pa.RecordBatch]:
        """Yield some columns of all rows."""


def narrowest(values: pa.Array) -> pa.DataType:
    """Return the type that `types_of` would give a column of these values."""
    guess = _Guess()
    guess.see(values)
    return guess.type


def types_of(text: Text) -> dict[str, pa.DataType]:
    """Return the types of all columns, over all of the file; null for one without values."""
    guesses = {name: _Guess() for name in text.names}
    first = text.columns(text.names)
    for batch in first:
        _see(guesses, batch)
        break
    first.close()
    # Most columns are text and known to be after the first rows: the others alone are converted.
    still_open = [name for name in text.names if guesses[name].is_open]
    for batch in text.columns(still_open):
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
