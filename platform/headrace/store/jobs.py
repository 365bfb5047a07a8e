"""What the Dagster code location reads: the catalogue of pipelines, and the slots of their schedules."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select

from headrace.records import JobCard, RunStatus, TriggeredBy
from headrace.store.database import Database
from headrace.store.leases import reap
from headrace.store.pipelines import tags_of
from headrace.store.runs import active_run_id, pending_run
from headrace.store.schema import catalogue, domains, pipelines, runs
from headrace.store.scoped import insert_unless_taken

LAUNCH_GRACE = timedelta(seconds=60)
"""How long a slot's run is left to Dagster's daemon before the dispatcher looks after it."""


class JobStore:
    """The pipelines of all organizations, as far as Dagster may know them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sequence(self) -> int:
        """Return the number of the catalogue's newest change."""
        with self._database.read() as connection:
            return int(connection.execute(select(catalogue.c.sequence)).scalar_one())

    def changed_after(self, sequence: int) -> tuple[int, Sequence[JobCard], Sequence[UUID]]:
        """Return the newest change's number, and the pipelines changed and deleted after `sequence`."""
        with self._database.read() as connection:
            newest = int(connection.execute(select(catalogue.c.sequence)).scalar_one())
            # The newest change is read first: what is committed in between is found again by the next call.
            rows = connection.execute(_cards().where(pipelines.c.sequence > sequence)).all()
            kept = [row for row in rows if row.deleted_at is None]
            tags = tags_of(connection, [row.id for row in kept])
            cards = [_card_of(row, tags.get(row.id, ())) for row in kept]
            return newest, cards, [row.id for row in rows if row.deleted_at is not None]

    def get(self, pipeline_id: UUID) -> JobCard | None:
        """Return one pipeline's card; None where it is unknown or deleted."""
        with self._database.read() as connection:
            query = _cards().where(pipelines.c.id == pipeline_id, pipelines.c.deleted_at.is_(None))
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return _card_of(row, tags_of(connection, [row.id]).get(row.id, ()))

    def take_slot(self, pipeline_id: UUID, slot: datetime) -> UUID | str:
        """Store the run of a schedule's slot; return its id, or why the slot has none.

        A tick that is repeated before the run was launched gets the same id again. The unique slot decides
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
            reap(connection, now, runs.c.pipeline_id == pipeline_id)
            values = pending_run(
                pipeline.organization_id,
                pipeline_id,
                TriggeredBy.SCHEDULE,
                now,
                scheduled_at=slot,
                launches=1,  # the tick's own: a dispatcher that comes later asks Dagster for it first
                launch_at=now + LAUNCH_GRACE,
            )
            if insert_unless_taken(connection, runs, values):
                run_id: UUID = values["id"]
                return run_id
            same_slot = runs.c.pipeline_id == pipeline_id, runs.c.scheduled_at == slot
            taken = connection.execute(select(runs.c.id, runs.c.status).where(*same_slot)).one_or_none()
            if taken is None:
                return f"Run {active_run_id(connection, pipeline_id)} of this pipeline has not ended."
            pending: UUID = taken.id
            return pending if taken.status == RunStatus.PENDING else f"Run {taken.id} has had this slot."


def _cards() -> Select[Any]:
    return select(pipelines, domains.c.name.label("domain_name")).outerjoin(
        domains, domains.c.id == pipelines.c.domain_id
    )


def _card_of(row: Row[Any], tags: tuple[str, ...]) -> JobCard:
    columns = row._mapping
    return JobCard(
        **{name: columns[name] for name in _COPIED},
        pipeline_id=row.id,
        tags=tags,
        updated_at=row.updated_at or row.created_at,
    )


_COPIED = tuple(
    name for name in JobCard.__dataclass_fields__ if name not in ("pipeline_id", "tags", "updated_at")
)
