"""Failed attempts of runs: retry, or end the run.

A temporary error is retried while the pipeline's policy allows another attempt. A worker that is lost after
its output file was complete is always retried: the next attempt finds the file, asks the destination whether
the data was loaded, and ends the run accordingly.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from headrace.records import Policy, RunPhase, RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.due import LONGEST_LEASE, has_come
from headrace.store.policies import policy_of
from headrace.store.schema import attempts, pipelines, runs

WORKER_LOST = "run.worker_lost"
WORKER_LOST_TEXT = "The run's worker sent no more heartbeats."
RESUMES = 3
"""How many workers may be lost while loading before the run fails."""
SETTLED = timedelta(seconds=60)
"""After so long Dagster's run of a result must have ended: its worker may have died in between."""
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
    """Fail the current attempt of the runs that match; return their rows from before.

    `which` must include the states that may fail, because it is the condition of this compare-and-set.
    `may_pass` means that another attempt may succeed. `stop` means that the worker may be alive and must be
    stopped.
    """
    due = select(runs, pipelines.c.policy).join(pipelines, pipelines.c.id == runs.c.pipeline_id).where(which)
    # In the order in which the counts of runs are locked; see migration 0004.
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


def reap(
    database: Database, connection: Connection, now: datetime, *which: ColumnElement[bool]
) -> Sequence[Row[Any]]:
    """Fail the runs whose worker's lease has expired; return their rows from before.

    After an outage, in which no worker could renew, fail none until living workers had time to renew.
    """
    if not database.steadiness.holds():
        return []
    lost = (runs.c.status == RunStatus.RUNNING) & has_come(runs.c.lease_until, now, LONGEST_LEASE)
    for condition in which:
        lost &= condition
    return fail(connection, lost, now, code=WORKER_LOST, error=WORKER_LOST_TEXT, may_pass=True, stop=True)


def _delay(row: Row[Any], policy: Policy, code: str, *, may_pass: bool) -> timedelta | None:
    """Return the delay before the next attempt; None if there is none."""
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
        "stop_at": now if stop else now + SETTLED,
        "phase": None,
    }


def _again(row: Row[Any], now: datetime, delay: timedelta, *, stop: bool) -> dict[str, Any]:
    return {
        "status": RunStatus.PENDING,
        "attempt": row.attempt + 1,
        "fence": row.fence + 1,  # refuses later writes of this attempt's worker
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
