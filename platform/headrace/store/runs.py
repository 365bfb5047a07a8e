"""Stored runs as clients of the API see and change them.

The writes of workers are in `leases`, those of control loops in `upkeep`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, exists, select, update
from sqlalchemy.sql import func

from headrace.errors import Conflict, NotFound
from headrace.receipts import Receipt
from headrace.records import Attempt, Page, Run, RunPhase, RunStatus, TriggeredBy
from headrace.store.policies import policy_of
from headrace.store.schema import attempts, pipelines, run_counts, runs
from headrace.store.scoped import Scoped, insert_unless_taken, page_of
from headrace.store.targets import hold_table

COLUMNS = tuple(column for column in runs.c if column is not runs.c.receipt)
"""The columns of a run's record: a receipt is long, and read on its own."""
ACTIVE = (RunStatus.PENDING, RunStatus.RUNNING)


class RunNotFound(NotFound):
    """The organization has no run with this id."""

    code = "run.not_found"
    title = "Run not found"
    hint = "List the runs with GET /api/runs."


class RunAlreadyActive(Conflict):
    """The pipeline has a pending or running run; `context["run_id"]` is its id."""

    code = "run.already_active"
    title = "A run is already active"
    hint = "Wait for the active run to end, or cancel it."


class RunAlreadyEnded(Conflict):
    """An ended run cannot be cancelled; `context["run_status"]` says how it ended."""

    code = "run.already_ended"
    title = "The run has ended"


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """A run with what lists leave out."""

    run: Run
    attempts: Sequence[Attempt]  # those that failed and were followed by another, oldest first
    receipt: Receipt | None  # None until the run has ended, or where an older release ended it


class RunStore(Scoped):
    """The runs of one organization."""

    def create(self, pipeline_id: UUID) -> Run:
        """Store a pending run that a client starts. Raises PipelineNotFound, RunAlreadyActive, TableTaken."""
        with self._database.write() as connection:
            pipeline = self._pipeline(connection, pipeline_id, lock=True)
            if not pipeline.target_held:
                hold_table(connection, pipeline)
            policy = policy_of(pipeline.policy)
            row = pending_run(
                self._organization_id,
                pipeline_id,
                TriggeredBy.MANUAL,
                self._database.now(connection),
                priority=policy.priority,
            )
            if not insert_unless_taken(connection, runs, row):
                active = active_run_id(connection, pipeline_id)
                raise RunAlreadyActive(
                    f"Run {active} of this pipeline has not ended.", context={"run_id": str(active)}
                )
            return self._get(connection, row["id"])

    def list(
        self, page: Page, *, pipeline_id: UUID | None = None, status: RunStatus | None = None
    ) -> tuple[Sequence[Run], int]:
        """Return a page of runs, newest first, and their total number. Raises PipelineNotFound."""
        query = self._select(runs, *COLUMNS).order_by(runs.c.created_at.desc(), runs.c.id.desc())
        count = self._select(run_counts, func.coalesce(func.sum(run_counts.c.runs), 0))
        if status is not None:
            query, count = query.where(runs.c.status == status), count.where(run_counts.c.status == status)
        with self._database.read() as connection:
            if pipeline_id is None:
                query = query.where(_pipeline_exists())
                deleted = self._select(pipelines, pipelines.c.id).where(
                    pipelines.c.deleted_at.is_not(None), pipelines.c.purged_at.is_(None)
                )
                count = count.where(run_counts.c.pipeline_id.not_in(deleted))
            else:
                self._pipeline(connection, pipeline_id)
                query = query.where(runs.c.pipeline_id == pipeline_id)
                count = count.where(run_counts.c.pipeline_id == pipeline_id)
            rows, total = page_of(connection, query, page, count)
            return [run_of(row) for row in rows], int(total)

    def pipeline_names(self, pipeline_ids: Collection[UUID]) -> Mapping[UUID, str]:
        """Return the names of pipelines by id, without deleted pipelines."""
        query = self._select(pipelines, pipelines.c.id, pipelines.c.name).where(
            pipelines.c.id.in_(pipeline_ids), pipelines.c.deleted_at.is_(None)
        )
        with self._database.read() as connection:
            return {row.id: row.name for row in connection.execute(query)}

    def get(self, run_id: UUID) -> Run:
        """Return the run. Raises RunNotFound."""
        with self._database.read() as connection:
            return self._get(connection, run_id)

    def details(self, run_id: UUID) -> RunDetails:
        """Return the run, its earlier attempts and its receipt.

        They are of one moment on SQLite. Raises RunNotFound.
        """
        query = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.attempt)
        with self._database.read() as connection:
            row = self._row(connection, run_id)
            run, receipt = run_of(row), Receipt.from_json(row.receipt) if row.receipt else None
            if run.attempt == 1:
                return RunDetails(run=run, attempts=(), receipt=receipt)
            earlier = [
                Attempt(**{name: row._mapping[name] for name in Attempt.__dataclass_fields__})
                for row in connection.execute(query)
                if row.attempt < run.attempt
            ]
            return RunDetails(run=run, attempts=earlier, receipt=receipt)

    def cancel(self, run_id: UUID) -> Run:
        """Cancel the run unless it has ended. Raises RunNotFound, RunAlreadyEnded (success or failed)."""
        with self._database.write() as connection:
            self._get(connection, run_id)
            cancel_active(connection, runs.c.id == run_id, self._database.now(connection))
            run = self._get(connection, run_id)
        if run.status is not RunStatus.CANCELLED:
            raise RunAlreadyEnded(f"The run ended as {run.status}.", context={"run_status": run.status.value})
        return run

    def _get(self, connection: Connection, run_id: UUID) -> Run:
        return run_of(self._row(connection, run_id))

    def _row(self, connection: Connection, run_id: UUID) -> Row[Any]:
        query = self._select(runs).where(runs.c.id == run_id, _pipeline_exists())
        row = connection.execute(query).one_or_none()
        if row is None:
            raise RunNotFound("There is no such run.")
        return row


def _pipeline_exists() -> ColumnElement[bool]:
    """Return the condition that hides runs of deleted pipelines, whose rows are purged later."""
    return exists().where(pipelines.c.id == runs.c.pipeline_id, pipelines.c.deleted_at.is_(None))


def run_of(row: Row[Any]) -> Run:
    """Return the record of a row of `runs`."""
    columns = row._mapping
    return Run(
        **{name: columns[name] for name in _COPIED},
        status=RunStatus(columns["status"]),
        triggered_by=TriggeredBy(columns["triggered_by"]),
        phase=RunPhase(columns["phase"]) if columns["phase"] else None,
    )


_COPIED = tuple(name for name in Run.__dataclass_fields__ if name not in ("status", "triggered_by", "phase"))


def pending_run(
    organization_id: UUID, pipeline_id: UUID, triggered_by: TriggeredBy, now: datetime, **columns: Any
) -> dict[str, Any]:
    """Return the row of a new run that is due for its launch."""
    return {
        "id": uuid4(),
        "organization_id": organization_id,
        "pipeline_id": pipeline_id,
        "status": RunStatus.PENDING,
        "triggered_by": triggered_by,
        "attempt": 1,
        "created_at": now,
        "launches": 0,
        "launch_at": now,
        "fence": 0,
        **columns,
    }


def active_run_id(connection: Connection, pipeline_id: UUID) -> UUID | None:
    """Return the id of the pipeline's pending or running run."""
    found: UUID | None = connection.execute(
        select(runs.c.id).where(runs.c.pipeline_id == pipeline_id, runs.c.status.in_(ACTIVE))
    ).scalar()
    return found


def cancel_active(connection: Connection, which: ColumnElement[bool], now: datetime) -> int:
    """Cancel those of the runs that have not ended; return how many were cancelled.

    This is a compare-and-set: a result that a worker wrote first is kept. The worker notices the cancel at
    its next heartbeat, and `stop_at` makes the control loop stop it in Dagster. Both survive a crash.
    """
    cancelled = update(runs).where(which, runs.c.status.in_(ACTIVE))
    return connection.execute(
        cancelled.values(
            status=RunStatus.CANCELLED,
            finished_at=now,
            stop_at=now,
            launch_at=None,
            lease_until=None,
            phase=None,
        )
    ).rowcount
