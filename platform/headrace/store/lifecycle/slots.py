"""Slots of schedules. Each slot is taken once, by whichever daemon, and its outcome is stored."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, exists, insert, select, update
from sqlalchemy.sql import func

from headrace.records import Missed, Overlap, Page, Policy, RunStatus, Slot, SlotOutcome, TriggeredBy
from headrace.schedule import next_slots, slots_between
from headrace.store.database import Database
from headrace.store.lifecycle.failures import reap
from headrace.store.policies import policy_of
from headrace.store.runs import active_run_id, pending_run
from headrace.store.schema import pipelines, runs, slots
from headrace.store.scoped import Scoped, insert_unless_taken, page_of

LATE = timedelta(minutes=5)
"""A slot taken later than this was missed, because no daemon was running."""
MADE_UP = 1000
"""How many missed slots, the newest, `missed: all` runs at most."""
_TOLD = 100
"""How many missed slots without a run are stored."""
_TOGETHER = 100
"""How many slots one transaction takes, because other writers wait for it."""


class SlotStore:
    """The slots of all pipelines, for Dagster's daemon and the control loops."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, pipeline_id: UUID, scheduled_at: datetime) -> str:
        """Take a slot and store its run, which a dispatcher launches; return a sentence on the outcome.

        If two daemons take the same slot, its unique key decides. If a client starts a run at the same time,
        the unique active run decides.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            pipeline = connection.execute(
                select(pipelines).where(pipelines.c.id == pipeline_id).with_for_update()
            ).one_or_none()
            if pipeline is None or pipeline.deleted_at is not None:
                return "The pipeline is deleted."
            if not pipeline.enabled:
                return "The pipeline is disabled."
            taken = _slot(connection, pipeline_id, scheduled_at)
            if taken is not None:
                return taken.reason or f"Run {taken.run_id} has this slot."
            reap(self._database, connection, now, runs.c.pipeline_id == pipeline_id)
            return _take(connection, pipeline, scheduled_at, now)

    def take_together(self, scheduled_at: datetime, is_due: Callable[[str, str], bool]) -> int:
        """Take the slots of all pipelines that are due at a time; return how many were taken.

        `is_due` gets a schedule and its time zone. Pipelines that another transaction is changing are
        skipped: their own ticks take their slots, also after a crash.
        """
        scheduled = select(pipelines.c.id, pipelines.c.schedule, pipelines.c.timezone).where(
            pipelines.c.enabled,
            pipelines.c.schedule.is_not(None),
            pipelines.c.deleted_at.is_(None),
            # Not if it was created, changed or enabled since: then Dagster's daemon decides.
            func.coalesce(pipelines.c.updated_at, pipelines.c.created_at) <= scheduled_at,
        )
        with self._database.read() as connection:
            rows = connection.execute(scheduled).all()
        due = [row.id for row in rows if is_due(row.schedule, row.timezone)]
        parts = (due[start : start + _TOGETHER] for start in range(0, len(due), _TOGETHER))
        return sum(self._take_part(part, scheduled_at) for part in parts)

    def _take_part(self, pipeline_ids: Sequence[UUID], scheduled_at: datetime) -> int:
        with self._database.write() as connection:
            now = self._database.now(connection)
            has_slot = exists().where(
                slots.c.pipeline_id == pipelines.c.id, slots.c.scheduled_at == scheduled_at
            )
            free = (
                select(pipelines)
                .where(pipelines.c.id.in_(pipeline_ids), pipelines.c.enabled, ~has_slot)
                .order_by(pipelines.c.id)
                .with_for_update(skip_locked=True)
            )
            # Check again after locking: a slot may have been taken while this waited for the lock.
            found = connection.execute(free).all()
            taken = set(
                connection.execute(
                    select(slots.c.pipeline_id).where(
                        slots.c.pipeline_id.in_([row.id for row in found]),
                        slots.c.scheduled_at == scheduled_at,
                    )
                ).scalars()
            )
            reap(self._database, connection, now, runs.c.pipeline_id.in_(pipeline_ids))
            left = [row for row in found if row.id not in taken]
            for pipeline in left:
                _take(connection, pipeline, scheduled_at, now)
            return len(left)

    def admit_waiting(self) -> int:
        """Store runs for waiting slots whose pipelines have no active run any more; return how many."""
        admitted = 0
        with self._database.write() as connection:
            now = self._database.now(connection)
            waiting = (
                select(slots.c.scheduled_at, pipelines)
                .join(pipelines, pipelines.c.id == slots.c.pipeline_id)
                .where(slots.c.outcome == SlotOutcome.WAITING, pipelines.c.deleted_at.is_(None))
                .order_by(slots.c.scheduled_at)
                .with_for_update(of=slots, skip_locked=True)
            )
            for row in connection.execute(waiting).all():
                values = _run_of_slot(row, row.scheduled_at, now, launch_at=now)
                if insert_unless_taken(connection, runs, values):
                    _settle(connection, row.id, row.scheduled_at, values["id"])
                    admitted += 1
        return admitted


class ScheduleLedger(Scoped):
    """The past slots of one organization's schedules."""

    def list(self, pipeline_id: UUID, page: Page) -> tuple[Sequence[Slot], int]:
        """Return a page of past slots, newest first, and their total number. Raises PipelineNotFound."""
        query = (
            select(slots, runs.c.status.label("run_status"))
            .outerjoin(runs, runs.c.id == slots.c.run_id)
            .where(slots.c.pipeline_id == pipeline_id)
            .order_by(slots.c.scheduled_at.desc())
        )
        with self._database.read() as connection:
            self._pipeline(connection, pipeline_id)
            rows, total = page_of(connection, query, page)
            return [_record_of(row) for row in rows], total


def _take(connection: Connection, pipeline: Row[Any], scheduled_at: datetime, now: datetime) -> str:
    """Take a free slot, and before it the slots missed since the last one."""
    for missed in _missed_since_last(connection, pipeline, scheduled_at):
        _take_one(connection, pipeline, missed, now, following=scheduled_at)
    return _take_one(connection, pipeline, scheduled_at, now)


def _missed_since_last(
    connection: Connection, pipeline: Row[Any], scheduled_at: datetime
) -> Sequence[datetime]:
    """Return the slots since the last one taken, because Dagster's daemon only reports the newest."""
    if pipeline.schedule is None:
        return ()
    makes_up = policy_of(pipeline.policy).missed is Missed.ALL
    earlier = (slots.c.pipeline_id == pipeline.id) & (slots.c.scheduled_at < scheduled_at)
    last: datetime | None = connection.execute(select(func.max(slots.c.scheduled_at)).where(earlier)).scalar()
    if last is None and not makes_up:
        return ()  # the schedule is new, so no daemon could have missed a slot
    # Ignore slots from before the last edit: they belong to the old schedule.
    since = max(filter(None, (last, pipeline.updated_at or pipeline.created_at)))
    most = MADE_UP if makes_up else _TOLD
    return slots_between(pipeline.schedule, pipeline.timezone, since, scheduled_at, most)


def _take_one(
    connection: Connection,
    pipeline: Row[Any],
    scheduled_at: datetime,
    now: datetime,
    following: datetime | None = None,
) -> str:
    """Take one slot. For a missed slot, `following` is the later slot that revealed it."""
    policy = policy_of(pipeline.policy)
    missed = _missed(pipeline, policy, scheduled_at, now, following)
    if missed is not None:
        return _skip(connection, pipeline.id, scheduled_at, now, missed)
    delay = _jitter(pipeline.id, policy)
    values = _run_of_slot(pipeline, scheduled_at, now, launch_at=scheduled_at + delay if delay else now)
    if not insert_unless_taken(connection, runs, values):
        active = active_run_id(connection, pipeline.id)
        reason = f"Run {active} of this pipeline has not ended."
        if policy.overlap is Overlap.SKIP and policy.missed is not Missed.ALL:
            return _skip(connection, pipeline.id, scheduled_at, now, reason)
        _note(connection, pipeline.id, scheduled_at, now, SlotOutcome.WAITING, reason=reason)
        return f"{reason} This slot waits for it."
    _note(connection, pipeline.id, scheduled_at, now, SlotOutcome.RUN, run_id=values["id"])
    if delay:
        return f"Run {values['id']} starts {delay.total_seconds():.0f} s after its slot."
    return f"Run {values['id']} has this slot."


def _missed(
    pipeline: Row[Any], policy: Policy, scheduled_at: datetime, now: datetime, following: datetime | None
) -> str | None:
    """Return why a missed slot gets no run; None if it was not missed or gets one."""
    if policy.missed is Missed.ALL or pipeline.schedule is None:
        return None
    if following is None and now - scheduled_at <= LATE:
        return None
    if policy.missed is Missed.NONE:
        return "The slot was missed, and the pipeline skips missed slots."
    following = following or next_slots(pipeline.schedule, pipeline.timezone, scheduled_at, 1)[0]
    return "The slot was missed, and so was a later one." if following <= now else None


def _jitter(pipeline_id: UUID, policy: Policy) -> timedelta:
    """Return the pipeline's delay. It is always the same, so the runs stay evenly spaced."""
    share = int.from_bytes(hashlib.sha256(pipeline_id.bytes).digest()[:4]) / 2**32
    return timedelta(seconds=policy.jitter_seconds * share)


def _run_of_slot(pipeline: Row[Any], scheduled_at: datetime, now: datetime, **columns: Any) -> dict[str, Any]:
    return pending_run(
        pipeline.organization_id,
        pipeline.id,
        TriggeredBy.SCHEDULE,
        now,
        scheduled_at=scheduled_at,
        priority=policy_of(pipeline.policy).priority,
        **columns,
    )


def _skip(
    connection: Connection, pipeline_id: UUID, scheduled_at: datetime, now: datetime, reason: str
) -> str:
    _note(connection, pipeline_id, scheduled_at, now, SlotOutcome.SKIPPED, reason=reason)
    return reason


def _note(
    connection: Connection,
    pipeline_id: UUID,
    scheduled_at: datetime,
    now: datetime,
    outcome: SlotOutcome,
    **columns: Any,
) -> None:
    row = {"pipeline_id": pipeline_id, "scheduled_at": scheduled_at, "created_at": now, "outcome": outcome}
    connection.execute(insert(slots).values(row | columns))


def _settle(connection: Connection, pipeline_id: UUID, scheduled_at: datetime, run_id: UUID) -> None:
    connection.execute(
        update(slots)
        .where(slots.c.pipeline_id == pipeline_id, slots.c.scheduled_at == scheduled_at)
        .values(outcome=SlotOutcome.RUN, reason=None, run_id=run_id)
    )


def _slot(connection: Connection, pipeline_id: UUID, scheduled_at: datetime) -> Row[Any] | None:
    return connection.execute(
        select(slots).where(slots.c.pipeline_id == pipeline_id, slots.c.scheduled_at == scheduled_at)
    ).one_or_none()


def _record_of(row: Row[Any]) -> Slot:
    return Slot(
        scheduled_at=row.scheduled_at,
        outcome=SlotOutcome(row.outcome),
        reason=row.reason,
        run_id=row.run_id,
        run_status=RunStatus(row.run_status) if row.run_status else None,
    )
