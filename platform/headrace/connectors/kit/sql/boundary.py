"""What an incremental run asks of a table, in any SQL: a condition, an order, and what is filtered here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.connectors import Cursor, ReadRequest, Unreadable
from headrace.connectors.contract.order import KINDS, SECOND, Kind, NoPlace, place

if TYPE_CHECKING:
    import pyarrow as pa

_FURTHEST_OFFSET = timedelta(days=2)  # an offset moves a time's date by one day at most
_YEAR_FIRST = 4


@dataclass(frozen=True, kw_only=True)
class CursorColumn:
    """The column that a table is synced by, in the words of its database."""

    name: str
    value: str  # SQL to compare and order by: text by its code points, whatever its collation
    is_text: bool  # the values' order may be another than that of their text
    placeless: str | None  # SQL that finds the rows without a place in the order; None: there are none
    constant: Callable[[Cursor], str]  # a cursor as SQL; raises Unreadable


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a read goes."""

    condition: str = ""  # of WHERE; empty: all rows
    order: str = ""  # of ORDER BY; empty: as they come
    kind: Kind | None = None  # the order in which `filtered` has to look at the rows again


def reach(column: CursorColumn, request: ReadRequest, count: Callable[[str], int]) -> Reach:
    """Return what to read: rows from the cursor on, and rows without a place in the cursor's order.

    `count` returns how many rows meet a condition. Text that holds numbers or times has no order in SQL: such
    rows are read from the start, or from days before the cursor where they begin with a year, and filtered.
    """
    kind = KINDS[request.cursor_type] if request.cursor_type else None
    by_value = column.is_text and kind in ("number", "time")
    if column.is_text and request.max_iterations is not None and kind not in ("text", "uuid"):
        raise Unreadable(
            f"A trial by {column.name!r} needs to know the order of its text: set cursor_type to 'text', or "
            "leave max_iterations out."
        )
    if not column.is_text and kind == "text":
        raise Unreadable(f"Column {column.name!r} has an order of its own: leave cursor_type out.")
    if request.cursor is None:
        return Reach(order="" if by_value else column.value)
    if by_value:
        return Reach(condition=_prefix(column, request, kind), kind=kind)
    return Reach(condition=_from_cursor(column, request, count), order=column.value)


def filtered(
    batches: Iterator[pa.RecordBatch], column: CursorColumn, request: ReadRequest, reach: Reach
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that are not below the cursor, where SQL could not tell."""
    if reach.kind is None:
        yield from batches
        return
    for number, batch in enumerate(batches):
        kept = _not_below(batch, column.name, request, reach.kind)
        if kept.num_rows or number == 0:
            yield kept


def not_below(records: list[dict[str, Any]], request: ReadRequest, reach: Reach) -> list[dict[str, Any]]:
    """Return the records that are not below the cursor, where SQL could not tell."""
    if reach.kind is None:
        return records
    kind, start = reach.kind, _start(request, reach.kind)

    def is_kept(value: Any) -> bool:
        try:
            found = place(value, kind)
        except NoPlace:
            return True  # the engine says which record it is
        return found is None or found > start or (found == start and request.inclusive)

    return [record for record in records if is_kept(record[str(request.cursor_field)])]


def column_named(found: dict[str, Any], request: ReadRequest) -> Any:
    """Return the column that the request syncs by. Raises Unreadable."""
    if request.cursor_field is None:
        raise Unreadable("An incremental run needs cursor_field: the column that grows with every change.")
    if request.cursor_field not in found:
        raise Unreadable(f"{request.stream!r} has no column {request.cursor_field!r} to use as its cursor.")
    return found[request.cursor_field]


def _from_cursor(column: CursorColumn, request: ReadRequest, count: Callable[[str], int]) -> str:
    constant = column.constant(request.cursor)
    same = f"{column.value} = {constant}"
    leaves_ties = request.known_ties is not None and count(same) == request.known_ties
    operator = ">=" if request.inclusive and not leaves_ties else ">"
    condition = f"{column.value} {operator} {constant}"
    if column.placeless is None:
        return condition
    if request.known_nulls is not None and count(column.placeless) == request.known_nulls:
        return f"{condition} AND NOT ({column.placeless})"
    return f"({condition} OR {column.placeless})"


def _prefix(column: CursorColumn, request: ReadRequest, kind: Kind | None) -> str:
    """Return a condition that leaves out what lies days below the cursor, by its text alone."""
    text = str(request.cursor)
    if kind != "time" or not text[:_YEAR_FIRST].isdigit():
        return ""
    try:
        instant = datetime.fromtimestamp(place(text, "time") // SECOND, UTC)
        day = (instant - _FURTHEST_OFFSET).date()
    except (NoPlace, OverflowError, ValueError):
        return ""
    # Other forms of the same day are higher as text: 20240115, 2024/01/15, 2024-W03-1, Mon, 15 Jan 2024.
    low = f"{column.value} >= {column.constant(day.isoformat())}"
    return f"({low} OR {column.placeless})" if column.placeless else low


def _not_below(batch: pa.RecordBatch, name: str, request: ReadRequest, kind: Kind) -> pa.RecordBatch:
    import pyarrow.compute as pc

    from headrace.connectors.kit.arrow.order import Misplaced, between, places, plain

    start = _start(request, kind)
    try:
        keys = places(plain(batch.column(name)), kind)
    except Misplaced:
        return batch  # the engine says which record it is
    kept = between(keys, start)
    if not request.inclusive:
        kept = pc.and_not(kept, between(keys, start, start))
    return batch.filter(pc.or_kleene(kept, keys.is_null()))


def _start(request: ReadRequest, kind: Kind) -> Any:
    try:
        return place(request.cursor, kind)
    except NoPlace:
        raise Unreadable(
            f"The stored cursor of {request.stream!r} is not a value of {request.cursor_field!r}."
        ) from None
