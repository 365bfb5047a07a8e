"""What follows a run's failure: another attempt, or the end.

An attempt that failed in a way that may pass is followed by another while the pipeline's policy allows one. A
worker that was lost after its output file was complete is always followed by another attempt: that one finds
the file, asks the destination whether the load got through, and ends the run accordingly.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from headrace.records import Policy, RunPhase, RunStatus
from headrace.store.policies import policy_of
from headrace.store.schema import attempts, pipelines, runs

WORKER_LOST = "run.worker_lost"
WORKER_LOST_TEXT = "The run's worker stopped answering."
RESUMES = 3
"""How many lost workers a load may have, before the run is given up."""
LONGEST_DELAY = timedelta(hours=1)


def fail(
    connection: Connection,
    which: ColumnElement[bool],
    now: datetime,
    *,
    code: str,
    error: str,
    may_pass: bool,
    stop: bool = False,
) -> Sequence[Row[Any]]:
    """Fail the present attempt of the runs that match; return their rows as they were.

    `which` has to name the states that may be failed: it is the compare of this compare-and-set. `may_pass`
    says that the same run may succeed later; `stop` that the worker may be alive and has to be stopped.
    """
    due = select(runs, pipelines.c.policy).join(pipelines, pipelines.c.id == runs.c.pipeline_id).where(which)
    # In the order in which the counts of runs are locked: see migration 0004.
    ordered = due.order_by(runs.c.organization_id, runs.c.pipeline_id)
    failed = connection.execute(ordered.with_for_update(of=runs)).all()
    for row in failed:
        delay = _delay(row, policy_of(row.policy), code, may_pass=may_pass)
        if delay is None:
            values = _ended(now, stop=stop)
        else:
            values = _again(row, now, delay, stop=stop)
            _note_attempt(connection, row, now, code, error)
        connection.execute(
            update(runs).where(runs.c.id == row.id).values(**values, error_code=code, error=error)
        )
    return failed


def reap(connection: Connection, now: datetime, *which: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Fail the running runs whose worker let its lease run out; return their rows as they were."""
    lost = (runs.c.status == RunStatus.RUNNING) & (runs.c.lease_until < now)
    for condition in which:
        lost &= condition
    return fail(connection, lost, now, code=WORKER_LOST, error=WORKER_LOST_TEXT, may_pass=True, stop=True)


def _delay(row: Row[Any], policy: Policy, code: str, *, may_pass: bool) -> timedelta | None:
    """Return how long to wait for the next attempt; None where there is none."""
    if code == WORKER_LOST and row.phase == RunPhase.LOAD and row.attempt <= RESUMES:
        return timedelta()
    if not may_pass or row.attempt >= policy.max_attempts:
        return None
    return min(timedelta(seconds=policy.retry_delay_seconds * 2 ** (row.attempt - 1)), LONGEST_DELAY)


def _ended(now: datetime, *, stop: bool) -> dict[str, Any]:
    return {
        "status": RunStatus.FAILED,
        "finished_at": now,
        "lease_until": None,
        "launch_at": None,
        "stop_at": now if stop else None,
        "phase": None,
    }


def _again(row: Row[Any], now: datetime, delay: timedelta, *, stop: bool) -> dict[str, Any]:
    return {
        "status": RunStatus.PENDING,
        "attempt": row.attempt + 1,
        "fence": row.fence + 1,  # what the worker of this attempt writes from now on is refused
        "lease_until": None,
        "launch_at": now + delay,
        "launches": 0,
        **({"stop_at": now} if stop else {}),
        "dagster_run_id": None,
    }


def _note_attempt(connection: Connection, row: Row[Any], now: datetime, code: str, error: str) -> None:
    connection.execute(
        insert(attempts).values(
            run_id=row.id,
            attempt=row.attempt,
            dagster_run_id=row.dagster_run_id,
            started_at=row.started_at,
            finished_at=now,
            error_code=code,
            error=error,
        )
    )
