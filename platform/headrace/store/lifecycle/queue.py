"""The order in which waiting runs are launched.

There is no separate queue. A dispatcher counts the runs in progress and chooses runs that fit the limits, in
one transaction. The order is by priority, then by the domain with the fewest runs in progress, then by the
source with the fewest, so one team's backfill does not delay the others, then by age.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from headrace.records import RunStatus
from headrace.store.database import AdvisoryLock, hold_lock
from headrace.store.lifecycle.due import is_being_launched, is_waiting
from headrace.store.schema import pipelines, runs

CANDIDATES = 500
"""How many waiting runs are considered at once, by priority and age."""
_CHOSEN_BY = ("id", "pipeline_id", "attempt", "launches", "priority", "launch_at", "triggered_by")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many runs may be in progress at once; None: no such limit."""

    total: int
    per_source: int | None = None  # by the connector's name
    per_domain: int | None = None


def choose(connection: Connection, limits: Limits, now: datetime, most: int) -> Sequence[Row[Any]]:
    """Return up to `most` due runs that fit the limits, in the order in which to launch them.

    On PostgreSQL, dispatchers take turns until their transactions end, so two of them cannot exceed a limit
    together. No rows are locked: the update of a chosen run must check that it still waits.
    """
    hold_lock(connection, AdvisoryLock.LAUNCHES)
    going = connection.execute(_going(now)).all()
    by_source = Counter(row.source for row in going)
    by_domain = Counter(row.domain_id for row in going)
    if len(going) >= limits.total:
        return []
    waiting = list(connection.execute(_waiting(now)).all())
    chosen: list[Row[Any]] = []
    while len(chosen) < most and len(going) + len(chosen) < limits.total:
        fitting = [
            row
            for row in waiting
            if _below(by_source[row.source], limits.per_source)
            and (row.domain_id is None or _below(by_domain[row.domain_id], limits.per_domain))
        ]
        if not fitting:
            break
        taken = min(
            fitting,
            key=lambda row: (
                -row.priority,
                by_domain[row.domain_id],
                by_source[row.source],
                row.launch_at,
            ),
        )
        waiting.remove(taken)
        by_source[taken.source] += 1
        by_domain[taken.domain_id] += 1
        chosen.append(taken)
    return chosen


def _below(count: int, limit: int | None) -> bool:
    return limit is None or count < limit


def _going(now: datetime) -> Select[Any]:
    """Select the runs in progress: a worker has them, or they are being launched."""
    begun = runs.c.dagster_run_id.is_not(None) | is_being_launched(now)
    launched = (runs.c.status == RunStatus.PENDING) & begun
    return (
        select(pipelines.c.source, pipelines.c.domain_id)
        .join(pipelines, pipelines.c.id == runs.c.pipeline_id)
        .where((runs.c.status == RunStatus.RUNNING) | launched)
    )


def _waiting(now: datetime) -> Select[Any]:
    return (
        select(
            *(runs.c[name] for name in _CHOSEN_BY),
            pipelines.c.source,
            pipelines.c.domain_id,
        )
        .join(pipelines, pipelines.c.id == runs.c.pipeline_id)
        .where(is_waiting(now))
        .order_by(runs.c.priority.desc(), runs.c.launch_at)
        .limit(CANDIDATES)
    )
