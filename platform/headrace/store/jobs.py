"""The stored pipelines as the Dagster code location reads them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select

from headrace.records import JobCard, RunStatus
from headrace.store.database import Database
from headrace.store.pipelines import tags_of
from headrace.store.schema import catalogue, domains, pipelines, runs


class JobStore:
    """The pipelines of all organizations, limited to what Dagster may know."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sequence(self) -> int:
        """Return the number of the newest change of any pipeline."""
        with self._database.read() as connection:
            return int(connection.execute(select(catalogue.c.sequence)).scalar_one())

    def changed_after(self, sequence: int) -> tuple[int, Sequence[JobCard], Sequence[UUID]]:
        """Return the newest change's number, and the pipelines changed and deleted after `sequence`."""
        with self._database.read() as connection:
            newest = int(connection.execute(select(catalogue.c.sequence)).scalar_one())
            # Read this first: a change that is committed in between is found again by the next call.
            rows = connection.execute(_cards().where(pipelines.c.sequence > sequence)).all()
            kept = [row for row in rows if row.deleted_at is None]
            tags = tags_of(connection, [row.id for row in kept])
            cards = [_card_of(row, tags.get(row.id, ())) for row in kept]
            return newest, cards, [row.id for row in rows if row.deleted_at is not None]

    def get(self, pipeline_id: UUID) -> JobCard | None:
        """Return one pipeline's card; None if it is unknown or deleted."""
        with self._database.read() as connection:
            query = _cards().where(pipelines.c.id == pipeline_id, pipelines.c.deleted_at.is_(None))
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            return _card_of(row, tags_of(connection, [row.id]).get(row.id, ()))

    def status_of(self, dagster_run_id: str) -> RunStatus | None:
        """Return the status of the run that a Dagster run executes; None if it executes none now."""
        with self._database.read() as connection:
            query = select(runs.c.status).where(runs.c.dagster_run_id == dagster_run_id)
            status = connection.execute(query).scalar()
            return None if status is None else RunStatus(status)


def _cards() -> Select[Any]:
    # Without the sealed configs, which are the largest part of a row.
    columns = [column for column in pipelines.columns if column is not pipelines.c.config]
    return select(*columns, domains.c.name.label("domain_name")).outerjoin(
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
