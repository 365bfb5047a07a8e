"""Expired data: ended runs, slots, answers of repeated requests, and tombstones.

A run is deleted in three idempotent steps: its runs in Dagster, its output, its row. The row is deleted last,
so after a crash the run is found here again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, exists, func, or_, select, tuple_

from headrace.records import SlotOutcome
from headrace.store.database import Database
from headrace.store.runs import ACTIVE
from headrace.store.schema import attempts, idempotency_keys, pipelines, runs, slots

IDEMPOTENCY_LIFE = timedelta(hours=24)
TOMBSTONE_LIFE = timedelta(days=7)
ROWS_AT_ONCE = 1000
"""How many rows one transaction deletes at most, so other writers do not wait long."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """How long ended runs are kept."""

    age: timedelta | None  # older runs are deleted; None: any age is kept
    newest: int  # of each pipeline, kept at any age
    most: int | None  # of each pipeline, at any age


@dataclass(frozen=True, kw_only=True)
class ExpiredRun:
    """An ended run to delete, with its known runs in Dagster."""

    run_id: UUID
    dagster_run_ids: tuple[str, ...]  # of all its attempts


class RetentionStore:
    """The data to delete, in all organizations."""

    def __init__(self, database: Database, keep: Keep) -> None:
        self._database = database
        self._keep = keep

    def expired(self, limit: int) -> Sequence[ExpiredRun]:
        """Return up to `limit` runs to delete, the oldest of each pipeline first."""
        found: list[ExpiredRun] = []
        with self._database.read() as connection:
            now = self._database.now(connection)
            for pipeline_id in connection.execute(self._overfull(now)).scalars().all():
                query = self._expired_of(pipeline_id, now).limit(limit - len(found))
                found += _with_attempts(connection, connection.execute(query).all())
                if len(found) >= limit:
                    break
        return found

    def forget(self, run_ids: Sequence[UUID]) -> None:
        """Delete the rows of ended runs whose other data was deleted."""
        with self._database.write() as connection:
            connection.execute(delete(runs).where(runs.c.id.in_(run_ids), _is_over()))

    def prune(self) -> bool:
        """Delete a batch of rows that nothing outside the database refers to; return True if it was full."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            removed = [
                _remove(connection, idempotency_keys, idempotency_keys.c.created_at < now - IDEMPOTENCY_LIFE),
                _remove(connection, pipelines, pipelines.c.purged_at < now - TOMBSTONE_LIFE),
            ]
            if self._keep.age is not None:
                old = slots.c.created_at < now - self._keep.age
                settled = slots.c.outcome != SlotOutcome.WAITING
                removed.append(_remove(connection, slots, old & settled & _has_newer()))
        return max(removed) == ROWS_AT_ONCE

    def _overfull(self, now: datetime) -> Select[Any]:
        """Select the pipelines with runs to delete, by an index alone, because most pipelines have none."""
        count, oldest = func.count(), func.min(runs.c.created_at)
        due: list[ColumnElement[bool]] = []
        if self._keep.age is not None:
            due.append((count > self._keep.newest) & (oldest < now - self._keep.age))
        if self._keep.most is not None:
            due.append(count > self._keep.most)
        return select(runs.c.pipeline_id).group_by(runs.c.pipeline_id).having(or_(False, *due))

    def _expired_of(self, pipeline_id: UUID, now: datetime) -> Select[Any]:
        newest_first = (runs.c.created_at.desc(), runs.c.id.desc())
        ranked = (
            select(runs.c.id, func.row_number().over(order_by=newest_first).label("rank"))
            .where(runs.c.pipeline_id == pipeline_id)
            .subquery()
        )
        due: list[ColumnElement[bool]] = []
        if self._keep.age is not None:
            due.append((ranked.c.rank > self._keep.newest) & (runs.c.created_at < now - self._keep.age))
        if self._keep.most is not None:
            due.append(ranked.c.rank > self._keep.most)
        return (
            select(runs.c.id, runs.c.dagster_run_id)
            .join(ranked, ranked.c.id == runs.c.id)
            .where(or_(False, *due), _is_over())
            .order_by(ranked.c.rank.desc())
        )


def _has_newer() -> ColumnElement[bool]:
    """Return the condition that a slot is not its pipeline's newest, which is needed to find missed slots."""
    newer = slots.alias("newer")
    return exists().where(
        newer.c.pipeline_id == slots.c.pipeline_id, newer.c.scheduled_at > slots.c.scheduled_at
    )


def _is_over() -> ColumnElement[bool]:
    """Return the condition that a run has ended, and does not have to be stopped in Dagster."""
    return runs.c.status.not_in(ACTIVE) & runs.c.stop_at.is_(None)


def _with_attempts(connection: Connection, rows: Sequence[Any]) -> list[ExpiredRun]:
    earlier = select(attempts.c.run_id, attempts.c.dagster_run_id).where(
        attempts.c.run_id.in_([row.id for row in rows]), attempts.c.dagster_run_id.is_not(None)
    )
    known: dict[UUID, list[str]] = {row.id: [row.dagster_run_id] for row in rows if row.dagster_run_id}
    for run_id, dagster_run_id in connection.execute(earlier):
        known.setdefault(run_id, []).append(dagster_run_id)
    return [ExpiredRun(run_id=row.id, dagster_run_ids=tuple(known.get(row.id, ()))) for row in rows]


def _remove(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    chosen = select(*table.primary_key.columns).where(which).limit(ROWS_AT_ONCE)
    return connection.execute(delete(table).where(key.in_(chosen))).rowcount
