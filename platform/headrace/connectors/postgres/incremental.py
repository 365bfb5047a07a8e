"""What an incremental run reads of a table: by transactions where they tell, else by the cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.connectors import Checkpoint, ReadRequest, RunWarning
from headrace.connectors.contract.order import KINDS
from headrace.connectors.kit.sql.boundary import CursorColumn, Reach, reach
from headrace.connectors.postgres.catalog import Table
from headrace.connectors.postgres.connection import fetch
from headrace.connectors.postgres.position import (
    MOST_TRANSACTIONS,
    Facts,
    NoPosition,
    Position,
    comparable,
    current,
    facts,
    since,
    young,
)

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


@dataclass(kw_only=True)
class Plan:
    """What to read, and the position that is stored afterwards."""

    reach: Reach = field(default_factory=Reach)
    nothing: bool = False  # no row can be new
    before: Position | None = None
    now: Position | None = None
    transactions: set[int] = field(default_factory=set)  # of the rows that were read, as they hold them

    @property
    def transaction(self) -> str | None:
        """SQL for the number to gather in `transactions`; None: none is needed."""
        return None if self.now is None else young(self.now)

    def checkpoints(self, request: ReadRequest) -> Iterator[Checkpoint]:
        """Yield what the next run must know beside the cursor."""
        if self.nothing and self.before:
            yield Checkpoint(cursor=None, position=self.before.to_json())
        elif self.now is not None:
            reached = self.now.with_delivered(self.transactions, self.before)
            if len(reached.delivered) <= MOST_TRANSACTIONS:
                yield Checkpoint(cursor=None, position=reached.to_json())
            else:
                _warn(request, "a transaction was open for too long while others committed")


def table_facts(connection: Connection, table: Table, request: ReadRequest) -> Facts | None:
    """Return what a position needs before the snapshot; None, said in the log, where there is no position."""
    if request.max_iterations is not None:
        return None  # a trial delivers a part of what it sees
    try:
        return facts(connection, table.schema, table.name)
    except NoPosition as reason:
        if request.position is not None:
            _warn(request, str(reason))
        elif request.cursor is not None and not request.lookback:
            request.log.info(
                "%s: %s. Rows are found by their cursor alone: a transaction that commits after a run, with "
                "a lower cursor than the run has seen, is missed. Set `lookback` to the time that it takes.",
                request.stream,
                reason,
            )
        return None


def planned(
    connection: Connection, relation: str, column: CursorColumn, request: ReadRequest, told: Facts | None
) -> Plan:
    """Return what to read of a table in this transaction's snapshot."""

    def count(condition: str) -> int:
        ((rows,),) = fetch(connection, f"SELECT count(*) FROM {relation} WHERE {condition}")  # noqa: S608
        return int(rows)

    if told is None:
        return Plan(reach=reach(column, request, count))
    now = current(connection, told)
    before = _before(request, now)
    if before is not None:
        return _since(count, column, request, before, now, told)
    plan = Plan(reach=reach(column, request, count), now=now)
    if request.cursor is not None:  # other rows than those that are read now were delivered before
        query = f"SELECT DISTINCT {young(now)} FROM {relation}"  # noqa: S608 - quoted names
        plan.transactions |= {number for (number,) in fetch(connection, query) if number is not None}
    return plan


def _before(request: ReadRequest, now: Position) -> Position | None:
    if request.position is None:
        return None
    try:
        before = Position.from_json(request.position)
        comparable(before, now, merges=request.merges)
    except NoPosition as reason:
        _warn(request, str(reason))
        return None
    return before


def _since(
    count: Callable[[str], int],
    column: CursorColumn,
    request: ReadRequest,
    before: Position,
    now: Position,
    told: Facts,
) -> Plan:
    request.told_apart()
    if before.is_unchanged(now, told):
        moves_on = told.holds(now) and now.oldest - before.oldest > _FAR
        return Plan(nothing=True, before=now.with_delivered((), before) if moves_on else before)
    condition = since(before, now)
    newest = _from_cursor(column, request)
    if newest and (request.lookback or _has_all(count, f"{newest} AND {condition}", before, now, told)):
        condition = f"{newest} AND {condition}"
    else:
        request.log.info(
            "Something was written since the last run: reading the whole table for rows that were committed "
            "late or have changed below the cursor. `lookback` bounds what is read."
        )
    return Plan(reach=Reach(condition=condition, order=column.value), before=before, now=now)


def _from_cursor(column: CursorColumn, request: ReadRequest) -> str:
    """Return the SQL condition of rows from the cursor on; empty where SQL cannot tell."""
    by_value = column.is_text and request.cursor_type is not None and KINDS[request.cursor_type] in _BY_VALUE
    if request.cursor is None or by_value:
        return ""
    bound = f"{column.value} >= {column.constant(request.cursor)}"
    return f"({bound} OR {column.placeless})" if column.placeless else f"({bound})"


def _has_all(
    count: Callable[[str], int], condition: str, before: Position, now: Position, told: Facts
) -> bool:
    """Whether as many rows meet the condition as the server has counted since: no other can be new."""
    counted = now.counted_since(before) if told.holds(now) else None
    return counted is not None and 0 < counted <= _FEW and count(condition) == counted


_BY_VALUE = ("number", "time")
_FEW = 100_000  # rows that are counted before they are read
_FAR = 100_000_000  # transactions; numbers of rows can be compared over two thousand million of them


def _warn(request: ReadRequest, reason: str) -> None:
    detail = (
        f"Rows that were committed late, with a lower cursor than the last run has seen, cannot be told this "
        f"time: {reason}. Rows at the cursor and above are delivered; reset the state to be sure of all."
    )
    request.warn(RunWarning(code="postgres.position_unknown", detail=detail))
