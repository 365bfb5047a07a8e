"""Figures of an organization, computed by the database."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func

from headrace.records import RunStatus, SlotOutcome
from headrace.store.runs import ACTIVE
from headrace.store.schema import domains, pipelines, runs, slots
from headrace.store.scoped import Scoped

RECENT = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of one organization."""

    pipelines: int
    pipelines_enabled: int
    domains: int
    active_runs: int
    pending_runs: int
    longest_wait_seconds: float  # of the runs that are due for their launch; 0: none is
    waiting_slots: int  # slots that wait for a run of their pipeline to end
    runs_last_24_hours: dict[RunStatus, int]  # runs created in that time, by status
    rows_last_24_hours: int
    bytes_last_24_hours: int


class StatsStore(Scoped):
    """Counts of one organization's rows."""

    def figures(self) -> Figures:
        """Return the current figures."""
        alive = pipelines.c.deleted_at.is_(None)
        with self._database.read() as connection:
            now = self._database.now(connection)
            since = now - RECENT
            count = func.count()
            recent = self._select(
                runs, runs.c.status, count, func.sum(runs.c.rows), func.sum(runs.c.bytes)
            ).where(runs.c.created_at >= since)
            by_status = connection.execute(recent.group_by(runs.c.status)).all()
            total, enabled = connection.execute(
                self._select(pipelines, count, func.count().filter(pipelines.c.enabled)).where(alive)
            ).one()
            active = connection.execute(
                self._select(runs, count, count.filter(runs.c.status == RunStatus.PENDING)).where(
                    runs.c.status.in_(ACTIVE)
                )
            ).one()
            due = self._select(runs, func.min(runs.c.launch_at)).where(runs.c.launch_at <= now)
            oldest = connection.execute(due).scalar_one()
            waiting = (
                self._select(pipelines, count)
                .join(slots, slots.c.pipeline_id == pipelines.c.id)
                .where(slots.c.outcome == SlotOutcome.WAITING, alive)
            )
            return Figures(
                pipelines=total,
                pipelines_enabled=enabled,
                domains=connection.execute(self._select(domains, count)).scalar_one(),
                active_runs=active[0],
                pending_runs=active[1],
                longest_wait_seconds=(now - oldest).total_seconds() if oldest else 0.0,
                waiting_slots=connection.execute(waiting).scalar_one(),
                runs_last_24_hours={RunStatus(row[0]): row[1] for row in by_status},
                rows_last_24_hours=sum(int(row[2] or 0) for row in by_status),
                bytes_last_24_hours=sum(int(row[3] or 0) for row in by_status),
            )
