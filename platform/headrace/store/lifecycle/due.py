"""When a stored time has come, also after the clock was set back.

Due times and leases are set by the database's clock. If that is set back by an hour, they lie an hour ahead,
and would hold a run for so long. So a time that lies further ahead than it can have been set has come, too.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists

from headrace.records import RunStatus
from headrace.store.schema import attempts, runs

LAUNCH_LEASE = timedelta(seconds=30)
"""How long one dispatcher has a launch. No retry of a launch waits longer, either."""
LONGEST_LEASE = timedelta(minutes=10)
"""The longest that `lease_seconds` allows."""
_SLACK = timedelta(seconds=5)
"""How far two machines' clocks may differ."""


def has_come(
    column: ColumnElement[datetime | None], now: datetime, longest: timedelta
) -> ColumnElement[bool]:
    """Return the condition that a time is not ahead, or further ahead than `longest`."""
    return (column <= now) | (column > now + longest + _SLACK)


def is_waiting(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a run is due for its launch.

    The delay before an attempt may be long, but no attempt can have been asked for in the future.
    """
    is_first = runs.c.attempt == 1
    failed_ahead = exists().where(
        attempts.c.run_id == runs.c.id,
        attempts.c.attempt == runs.c.attempt - 1,
        attempts.c.finished_at > now + _SLACK,
    )
    asked_ahead = (is_first & (runs.c.created_at > now + _SLACK)) | (~is_first & failed_ahead)
    is_due = (runs.c.launch_at <= now) | ((runs.c.launches == 0) & asked_ahead)
    return (runs.c.status == RunStatus.PENDING) & (is_due | ((runs.c.launches > 0) & _lease_is_over(now)))


def is_being_launched(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a dispatcher has the run's launch."""
    return (runs.c.launches > 0) & runs.c.launch_at.is_not(None) & ~_lease_is_over(now)


def _lease_is_over(now: datetime) -> ColumnElement[bool]:
    return has_come(runs.c.launch_at, now, LAUNCH_LEASE)
