"""The work of the control loops: runs to launch, stop and repair, and pipelines to purge.

A loop leases work by postponing its due time in the transaction that reads it. So two loops never get the
same row at once, and work of a loop that dies is found again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.sql import func

from headrace.records import Run, RunStatus, TriggeredBy
from headrace.store.database import Database
from headrace.store.lifecycle.due import LAUNCH_LEASE, has_come, is_waiting
from headrace.store.lifecycle.failures import SETTLED, fail, reap
from headrace.store.lifecycle.queue import Limits, choose
from headrace.store.runs import ACTIVE, COLUMNS, cancel_active, run_of
from headrace.store.schema import attempts, pipelines, runs

LAUNCH_RETRY_LONGEST = LAUNCH_LEASE
RELAUNCH_DELAY = timedelta(seconds=2)
RELAUNCH_GROWTH = 5  # so the second delay is longer than the start of a code server on a busy machine
STOP_LEASE = timedelta(seconds=15)
SETTLING = 500
"""How many ended runs are compared with Dagster at once, the latest first."""


@dataclass(frozen=True, kw_only=True)
class PendingLaunch:
    """A run that this dispatcher may launch until its lease ends."""

    run_id: UUID
    pipeline_id: UUID
    attempt: int
    launches: int  # earlier launches of this attempt; if there are any, Dagster may already have the run
    is_scheduled: bool = False


@dataclass(frozen=True, kw_only=True)
class DeletedPipeline:
    """A deleted pipeline, with what must be deleted outside the database."""

    pipeline_id: UUID
    run_ids: tuple[UUID, ...]
    dagster_run_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A run in Dagster, and what its tags and its job say of it."""

    dagster_run_id: str
    pipeline_id: UUID
    run_id: UUID | None  # None: started in Dagster's UI


class UpkeepStore:
    """The work of the control loops in all organizations."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def lease_launches(self, limit: int) -> Sequence[PendingLaunch]:
        """Lease the pending runs that are due and fit the limits, in a fair order."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            chosen = choose(connection, self._limits, now, limit)
            if not chosen:
                return []
            leased = connection.execute(
                update(runs)
                .where(runs.c.id.in_([row.id for row in chosen]), is_waiting(now))
                .values(launch_at=now + LAUNCH_LEASE, launches=runs.c.launches + 1)
                .returning(runs.c.id)
            )
            ids = set(leased.scalars())
            return [
                PendingLaunch(
                    run_id=row.id,
                    pipeline_id=row.pipeline_id,
                    attempt=row.attempt,
                    launches=row.launches,
                    is_scheduled=row.triggered_by == TriggeredBy.SCHEDULE,
                )
                for row in chosen
                if row.id in ids
            ]

    def seconds_to_launch(self) -> float | None:
        """Return the seconds until the next pending run is due for its launch; None if none is pending.

        Zero or less means that it is due; if it could not be leased, it did not fit the limits.
        """
        with self._database.read() as connection:
            query = select(func.min(runs.c.launch_at)).where(runs.c.status == RunStatus.PENDING)
            due: datetime | None = connection.execute(query).scalar()
            return None if due is None else (due - self._database.now(connection)).total_seconds()

    def launched(self, run_id: UUID, dagster_run_id: str) -> None:
        """Store the id of a launched run in Dagster, unless its worker has already stored it."""
        with self._database.write() as connection:
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.dagster_run_id.is_(None))
                .values(dagster_run_id=dagster_run_id, launch_at=None)
            )

    def launch_failed(self, run_id: UUID, launches: int) -> None:
        """Retry a launch later: after half a second at first, doubled for each further retry."""
        delay = min(timedelta(seconds=0.5 * 2 ** min(launches, 10)), LAUNCH_RETRY_LONGEST)
        with self._database.write() as connection:
            due = self._database.now(connection) + delay
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.status == RunStatus.PENDING)
                .values(launch_at=due)
            )

    def launch_again(self, run: Run, launches: int) -> None:
        """Let a run be launched anew whose Dagster run ended before its worker claimed it, as `launches` did.

        After two seconds at first, then after ten, then after thirty. The launches before are stopped.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            delay = RELAUNCH_DELAY * RELAUNCH_GROWTH ** min(launches - 1, 10)
            due = now + min(delay, LAUNCH_RETRY_LONGEST)
            connection.execute(
                update(runs)
                .where(
                    runs.c.id == run.id,
                    runs.c.status == RunStatus.PENDING,
                    runs.c.dagster_run_id == run.dagster_run_id,
                )
                .values(dagster_run_id=None, launch_at=due, stop_at=now)
            )

    def unfinished(self) -> Sequence[Run]:
        """Return the pending and running runs that exist in Dagster."""
        with self._database.read() as connection:
            query = select(*COLUMNS).where(runs.c.status.in_(ACTIVE), runs.c.dagster_run_id.is_not(None))
            return [run_of(row) for row in connection.execute(query)]

    def dagster_ended(self, run: Run, status: RunStatus, error_code: str, error: str) -> bool:
        """End a run that has ended in Dagster without a result of its worker.

        Return False if it had already ended, or if another Dagster run, from an earlier launch, has claimed
        it since `run` was read.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            theirs = (runs.c.id == run.id) & (runs.c.dagster_run_id == run.dagster_run_id)
            if status is RunStatus.FAILED:
                going = theirs & runs.c.status.in_(ACTIVE)
                failed = fail(connection, going, now, code=error_code, error=error, may_pass=True, stop=True)
                return bool(failed)
            return bool(cancel_active(connection, theirs, now))

    def reap(self) -> Sequence[Run]:
        """Fail the attempts whose worker's lease has expired; return the runs from before."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            return [run_of(row) for row in reap(self._database, connection, now)]

    def living(self, claims: Collection[tuple[UUID, int]]) -> set[tuple[UUID, int]]:
        """Return those of the claims, each a run and a fence, that a worker still has."""
        with self._database.read() as connection:
            query = select(runs.c.id, runs.c.fence).where(
                runs.c.id.in_({run_id for run_id, _ in claims}), runs.c.status == RunStatus.RUNNING
            )
            return {(row.id, row.fence) for row in connection.execute(query)} & set(claims)

    def lease_stops(self, limit: int) -> Sequence[Run]:
        """Take runs of which something must be stopped in Dagster: all of it, if they have ended."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            due = select(*COLUMNS).where(has_come(runs.c.stop_at, now, SETTLED))
            oldest = due.order_by(runs.c.stop_at).limit(limit).with_for_update(skip_locked=True)
            leased = [run_of(row) for row in connection.execute(oldest)]
            connection.execute(
                update(runs).where(runs.c.id.in_([run.id for run in leased])).values(stop_at=now + STOP_LEASE)
            )
            return leased

    def settling(self) -> Sequence[Run]:
        """Return the runs that ended a while ago, and of which Dagster says no end, or another one."""
        with self._database.read() as connection:
            settled = has_come(runs.c.finished_at, self._database.now(connection) - SETTLED, SETTLED)
            ended = runs.c.status.not_in(ACTIVE) & runs.c.dagster_run_id.is_not(None)
            query = select(*COLUMNS).where(runs.c.stop_at.is_not(None), ended, settled).limit(SETTLING)
            return [run_of(row) for row in connection.execute(query.order_by(runs.c.stop_at.desc()))]

    def without_row(self, known: Collection[Launch]) -> set[str]:
        """Return the ids of those Dagster runs that belong to no row, or whose pipeline was purged."""
        ids, run_ids = [run.dagster_run_id for run in known], [run.run_id for run in known if run.run_id]
        with self._database.read() as connection:
            tagged = set(connection.execute(select(runs.c.id).where(runs.c.id.in_(run_ids))).scalars())
            claimed = {
                *connection.execute(
                    select(runs.c.dagster_run_id).where(runs.c.dagster_run_id.in_(ids))
                ).scalars(),
                *connection.execute(
                    select(attempts.c.dagster_run_id).where(attempts.c.dagster_run_id.in_(ids))
                ).scalars(),
            }
            there = pipelines.c.id.in_({run.pipeline_id for run in known}) & pipelines.c.purged_at.is_(None)
            pipeline_ids = set(connection.execute(select(pipelines.c.id).where(there)).scalars())
        return {
            run.dagster_run_id
            for run in known
            if run.pipeline_id not in pipeline_ids
            or (run.run_id and run.run_id not in tagged and run.dagster_run_id not in claimed)
        }

    def stopped(self, run_id: UUID) -> None:
        """Record that the run has stopped in Dagster."""
        with self._database.write() as connection:
            connection.execute(update(runs).where(runs.c.id == run_id).values(stop_at=None))

    def to_purge(self) -> Sequence[DeletedPipeline]:
        """Return the deleted pipelines whose runs, logs and outputs still exist."""
        with self._database.read() as connection:
            tombstones = select(pipelines.c.id).where(
                pipelines.c.deleted_at.is_not(None), pipelines.c.purged_at.is_(None)
            )
            found = []
            for pipeline_id in connection.execute(tombstones).scalars():
                query = select(runs.c.id, runs.c.dagster_run_id).where(runs.c.pipeline_id == pipeline_id)
                of_pipeline = connection.execute(query).all()
                found.append(
                    DeletedPipeline(
                        pipeline_id=pipeline_id,
                        run_ids=tuple(row.id for row in of_pipeline),
                        dagster_run_ids=tuple(
                            row.dagster_run_id for row in of_pipeline if row.dagster_run_id
                        ),
                    )
                )
            return found

    def purged(self, pipeline_id: UUID) -> None:
        """Delete the rows of a deleted pipeline's runs. Its tombstone, without a name, stays for a week."""
        with self._database.write() as connection:
            connection.execute(delete(runs).where(runs.c.pipeline_id == pipeline_id))
            connection.execute(
                update(pipelines)
                .where(pipelines.c.id == pipeline_id, pipelines.c.deleted_at.is_not(None))
                .values(purged_at=self._database.now(connection), name="", stream="")
            )
