"""The names of a CSV file's columns: its header's, or those that the configuration gives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.connectors import RunWarning, Unreadable

_NUMBER = re.compile(r"-?\d+([.,]\d+)?")
_OTHER_DELIMITERS = ";\t|,"
UNNAMED = "unnamed"


class AmbiguousHeader(Unreadable):
    """A CSV file's header does not tell its columns apart, or is none."""

    code = "source.csv_header"
    title = "CSV header cannot be used"
    hint = "Name the columns with `column_names`; set `header` to false for a file that has none."


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the columns are called, and what of it is a guess."""

    names: tuple[str, ...]
    warnings: tuple[RunWarning, ...] = ()


def column_names(first_row: Sequence[str], *, given: Sequence[str], header: bool) -> Names:
    """Return the names for the columns of a file that begins with the row. Raises AmbiguousHeader."""
    if given:
        if first_row and len(given) != len(first_row):
            count = f"{len(first_row)} columns, and `column_names` has {len(given)} names"
            raise AmbiguousHeader(f"The file has {count}.")
        return Names(names=tuple(given) if first_row else ())
    if not header:
        return Names(names=tuple(f"column_{place}" for place in range(1, len(first_row) + 1)))
    names = named(first_row)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AmbiguousHeader(f"Two columns of the file are named {twice!r}.")
    if any("\0" in name for name in names):
        raise AmbiguousHeader("The header holds NUL characters: set `encoding`, to utf-16 perhaps.")
    return Names(names=tuple(names), warnings=tuple(_warnings(first_row)))


def named(names: Sequence[str]) -> list[str]:
    """Return the names with one for each column that has none: `unnamed`, `unnamed_2` and so on."""
    found: list[str] = []
    number = 0
    for name in names:
        while not name:
            number += 1
            unnamed = UNNAMED if number == 1 else f"{UNNAMED}_{number}"
            name = "" if unnamed in names else unnamed
        found.append(name)
    return found


def _warnings(header: Sequence[str]) -> list[RunWarning]:
    warnings = []
    if not all(header):
        detail = f"CSV columns without a name in the header are called {UNNAMED!r}."
        warnings.append(RunWarning(code="source.column_unnamed", detail=detail))
    if header and all(_NUMBER.fullmatch(name) for name in header):
        detail = "A CSV file's first row holds only numbers and was taken for its header: see `header`."
        warnings.append(RunWarning(code="source.header_of_numbers", detail=detail))
    if len(header) == 1 and any(mark in header[0] for mark in _OTHER_DELIMITERS):
        detail = "A CSV file has one column, whose name holds what may be its delimiter: see `delimiter`."
        warnings.append(RunWarning(code="source.one_column", detail=detail))
    return warnings
