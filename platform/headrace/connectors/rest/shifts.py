"""Lists that change while their pages are read: records that one page has ended with begin the next.

A page that is asked for by its number or offset moves on when rows are inserted before it, so that its first
records are the last ones of the page before. Records whose stream has a primary key are left out then: whole
records that are the same are one row. Without a key they may be two rows, and both are kept. Rows that are
deleted meanwhile move a page the other way; only the list's total tells of that.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.connectors import RunWarning
from headrace.connectors.contract.warnings import Warn
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.connectors.rest.paginators import Offset, Page, PageNumber, SinglePage

_COUNTING = (Offset, PageNumber)


class Shifts:
    """Compares each page of a list with the one before."""

    def __init__(self, label: str, warn: Warn, *, has_key: bool) -> None:
        self._label, self._warn, self._has_key = label, warn, has_key
        self._last: Sequence[Any] = ()
        self._total: Any = None

    def new(self, page: Page, paginator: SinglePage) -> Sequence[Any]:
        """Return the page's records but those that were delivered with the last page, and warn of them."""
        records, repeated = page.records, _overlap(*_alike(self._last, page.records))
        self._last = records
        if repeated:
            became = "are left out" if self._has_key else "are kept, since no primary_key tells rows apart"
            detail = f"{self._label}: the list grew while it was read; records that came again {became}."
            self._warn(RunWarning(code="rest.rows_shifted", detail=detail, count=repeated))
        self._compare_totals(page.at(paginator.total_path) if isinstance(paginator, _COUNTING) else None)
        return records[repeated:] if repeated and self._has_key else records

    def _compare_totals(self, total: Any) -> None:
        if self._total is not None and total is not None and total != self._total:
            detail = (
                f"{self._label}: the total changed while pages were read; rows may be missing or doubled."
            )
            self._warn(RunWarning(code="rest.total_changed", detail=detail))
        self._total = total if total is not None else self._total


def _alike(before: Sequence[Any], after: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return two pages' records in one form: as text where both are text still, which is quick to compare."""
    if isinstance(before, JsonRecords) and isinstance(after, JsonRecords):
        return before.items, after.items
    return list(before), list(after)


def _overlap(before: Sequence[Any], after: Sequence[Any]) -> int:
    """Return how many records end the one page and begin the other, the most that do."""
    if not before or not after:
        return 0
    first = _text(after[0])
    for start in range(max(0, len(before) - len(after)), len(before)):
        if _text(before[start]) != first:
            continue
        end = before[start:]
        if all(_text(one) == _text(other) for one, other in zip(end, after, strict=False)):
            return len(end)
    return 0


def _text(record: Any) -> bytes | str:
    return bytes(record) if isinstance(record, msgspec.Raw) else repr(record)
