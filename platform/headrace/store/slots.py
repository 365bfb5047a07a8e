"""Slots of schedules: each is taken once, whatever daemons do, and what became of it is kept."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, select, update

from headrace.records import Missed, Overlap, Page, Policy, RunStatus, Slot, SlotOutcome, TriggeredBy
from headrace.schedule import next_slots
from headrace.store.database import Database
from headrace.store.failures import reap
from headrace.store.policies import policy_of
from headrace.store.runs import active_run_id, pending_run
from headrace.store.schema import pipelines, runs, slots
from headrace.store.scoped import Scoped, insert_unless_taken, page_of

LAUNCH_GRACE = timedelta(seconds=60)
"""How long a slot's run is left to Dagster's daemon before the dispatcher looks after it."""
LATE = timedelta(minutes=5)
"""A slot that is seen later than this was missed: no daemon was there."""


class SlotStore:
    """The slots of all pipelines, as Dagster's daemon and the control loops take them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, pipeline_id: UUID, scheduled_at: datetime) -> UUID | str:
        """Take a slot: return the run that the daemon is to launch now, or why there is nothing to launch.

        A tick that is repeated before the run was claimed gets the same run again. The unique slot decides
        between two daemons, and the unique active run between a schedule and a client.
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
                return _again(connection, taken)
            reap(connection, now, runs.c.pipeline_id == pipeline_id)
            return _take(connection, pipeline, scheduled_at, now)

    def admit_waiting(self) -> int:
        """Make runs of the waiting slots whose pipelines have none any more; return how many."""
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
                values = _run_of_slot(row, row.scheduled_at, now, launch_at=now, launches=0)
                if insert_unless_taken(connection, runs, values):
                    _settle(connection, row.id, row.scheduled_at, values["id"])
                    admitted += 1
        return admitted


class ScheduleLedger(Scoped):
    """What became of the slots of one organization's schedules."""

    def list(self, pipeline_id: UUID, page: Page) -> tuple[Sequence[Slot], int]:
        """Return a page of past slots, newest first, and how many there are. Raises PipelineNotFound."""
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


def _take(connection: Connection, pipeline: Row[Any], scheduled_at: datetime, now: datetime) -> UUID | str:
    policy = policy_of(pipeline.policy)
    missed = _missed(pipeline, policy, scheduled_at, now)
    if missed is not None:
        return _skip(connection, pipeline.id, scheduled_at, now, missed)
    delay = _jitter(pipeline.id, policy)
    launch_at = scheduled_at + delay if delay else now + LAUNCH_GRACE
    values = _run_of_slot(pipeline, scheduled_at, now, launch_at=launch_at, launches=0 if delay else 1)
    if not insert_unless_taken(connection, runs, values):
        active = active_run_id(connection, pipeline.id)
        reason = f"Run {active} of this pipeline has not ended."
        if policy.overlap is Overlap.SKIP and policy.missed is not Missed.ALL:
            return _skip(connection, pipeline.id, scheduled_at, now, reason)
        _note(connection, pipeline.id, scheduled_at, now, SlotOutcome.WAITING, reason=reason)
        return f"{reason} This slot waits for it."
    _note(connection, pipeline.id, scheduled_at, now, SlotOutcome.RUN, run_id=values["id"])
    run_id: UUID = values["id"]
    return f"Run {run_id} starts {delay.total_seconds():.0f} s after its slot." if delay else run_id


def _missed(pipeline: Row[Any], policy: Policy, scheduled_at: datetime, now: datetime) -> str | None:
    """Return why a slot that was missed is left out; None for one that was not, or that is made up for."""
    if policy.missed is Missed.ALL or now - scheduled_at <= LATE or pipeline.schedule is None:
        return None
    if policy.missed is Missed.NONE:
        return "The slot was missed, and the pipeline does not catch up."
    [following] = next_slots(pipeline.schedule, pipeline.timezone, scheduled_at, 1)
    return "The slot was missed, and a later one as well." if following <= now else None


def _jitter(pipeline_id: UUID, policy: Policy) -> timedelta:
    """Return the pipeline's share of its jitter: always the same, so that its runs stay evenly apart."""
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


def _again(connection: Connection, taken: Row[Any]) -> UUID | str:
    """Answer a tick that is repeated. A slot whose start is put off was never the daemon's to launch."""
    run_id: UUID | None = taken.run_id
    row = connection.execute(select(runs.c.status, runs.c.launches).where(runs.c.id == run_id)).one_or_none()
    if run_id is not None and row is not None and row.status == RunStatus.PENDING and row.launches:
        return run_id
    return taken.reason or f"Run {run_id} has had this slot."


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
