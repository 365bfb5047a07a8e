"""Figures of an organization, counted in the database."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func

from headrace.records import RunStatus
from headrace.store.schema import domains, pipelines, runs
from headrace.store.scoped import Scoped

RECENT = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an organization has and does."""

    pipelines: int
    pipelines_enabled: int
    domains: int
    active_runs: int
    runs_last_24_hours: dict[RunStatus, int]  # by status, of the runs created in that time
    rows_last_24_hours: int
    bytes_last_24_hours: int


class StatsStore(Scoped):
    """Counts over one organization's rows."""

    def figures(self) -> Figures:
        """Return the figures of this moment."""
        alive = pipelines.c.deleted_at.is_(None)
        with self._database.read() as connection:
            since = self._database.now(connection) - RECENT
            count = func.count()
            recent = self._select(
                runs, runs.c.status, count, func.sum(runs.c.rows), func.sum(runs.c.bytes)
            ).where(runs.c.created_at >= since)
            by_status = connection.execute(recent.group_by(runs.c.status)).all()
            total, enabled = connection.execute(
                self._select(pipelines, count, func.count().filter(pipelines.c.enabled)).where(alive)
            ).one()
            active = self._select(runs, count).where(
                runs.c.status.in_((RunStatus.PENDING, RunStatus.RUNNING))
            )
            return Figures(
                pipelines=total,
                pipelines_enabled=enabled,
                domains=connection.execute(self._select(domains, count)).scalar_one(),
                active_runs=connection.execute(active).scalar_one(),
                runs_last_24_hours={RunStatus(row[0]): row[1] for row in by_status},
                rows_last_24_hours=sum(int(row[2] or 0) for row in by_status),
                bytes_last_24_hours=sum(int(row[3] or 0) for row in by_status),
            )
