"""Which pipeline fills which table. A table is known by a keyed hash of its address and name.

A table has one owner: see docs/exactness.md. Pipelines that an older release stored get their hash when the
platform starts; until then the destination's own record protects their tables.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from headrace.errors import Conflict
from headrace.records import TableUse
from headrace.store.database import Database
from headrace.store.schema import pipelines
from headrace.store.sealed import SealedConfig, sealed_config

_FULL_REFRESH = "full_refresh"
NO_TABLE = ""
"""In the place of the hash: the destination has no table that two pipelines could fill by mistake."""


class TableTaken(Conflict):
    """Another pipeline fills the same table; `context["pipeline_id"]` names it."""

    code = "pipeline.table_taken"
    title = "Another pipeline fills this table"
    hint = (
        "Load into another table. Or, in `destination`, set `shared: true` if all pipelines of the table "
        "append or merge, or `adopt: true` to take the table over."
    )


@dataclass(frozen=True, kw_only=True)
class Target:
    """The table that a pipeline fills, and how."""

    hash: str | None  # NO_TABLE: there is none; None: it is not known
    use: TableUse
    is_checked: bool = True  # whether a pipeline is refused when it is stored; otherwise its runs are
    is_held: bool = True  # False: a copy, which may fill the table once that is found to be free


@dataclass(frozen=True, kw_only=True)
class Untold:
    """A pipeline whose table is not known."""

    id: UUID
    organization_id: UUID
    config: SealedConfig


class UntoldTargets:
    """The pipelines of all organizations that an older release has stored without their tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, last: UUID | None, limit: int) -> list[Untold]:
        """Return the next ones by their ids."""
        query = (
            select(pipelines)
            .where(pipelines.c.target.is_(None), pipelines.c.deleted_at.is_(None))
            .order_by(pipelines.c.id)
            .limit(limit)
        )
        if last is not None:
            query = query.where(pipelines.c.id > last)
        with self._database.read() as connection:
            return [
                Untold(id=row.id, organization_id=row.organization_id, config=sealed_config(row))
                for row in connection.execute(query)
            ]

    def tell(self, found: list[tuple[Untold, Target]]) -> int:
        """Store tables, unless a pipeline has been changed since; return how many were stored."""
        stored = 0
        with self._database.write() as connection:
            for pipeline, target in found:
                unchanged = (
                    (pipelines.c.id == pipeline.id)
                    & pipelines.c.target.is_(None)
                    & (pipelines.c.config_revision == pipeline.config.revision)
                )
                new = {"target": target.hash, "target_use": target.use}
                stored += connection.execute(update(pipelines).where(unchanged).values(new)).rowcount
        return stored


def require_free(
    connection: Connection,
    pipeline_id: UUID,
    organization_id: UUID,
    *,
    target: str | None,
    use: TableUse,
    sync_mode: str,
) -> None:
    """Raise TableTaken if another pipeline fills the table and does not share it."""
    others = _others(connection, pipeline_id, organization_id, target)
    taken = next((other for other in others if not _may_join(use, sync_mode, other)), None)
    if taken is not None:
        raise table_taken(taken)


def hold_table(connection: Connection, row: Row[Any]) -> None:
    """Let a copy of a pipeline fill its table from now on. Raises TableTaken if another pipeline does."""
    require_free(
        connection,
        row.id,
        row.organization_id,
        target=row.target,
        use=TableUse(row.target_use),
        sync_mode=row.sync_mode,
    )
    connection.execute(update(pipelines).where(pipelines.c.id == row.id).values(target_held=True))


def owner_before(connection: Connection, row: Row[Any]) -> Row[Any] | None:
    """Return the older pipeline that keeps this one from filling its table; None where there is none."""
    others = _others(connection, row.id, row.organization_id, row.target)
    if row.target_held:
        others = [each for each in others if (each.created_at, each.id) < (row.created_at, row.id)]
    use = TableUse(row.target_use)
    return next((other for other in others if not _may_join(use, row.sync_mode, other)), None)


def table_taken(other: Row[Any]) -> TableTaken:
    """Return the error that names the other pipeline."""
    return TableTaken(
        f"The pipeline {other.name!r} fills the same table.", context={"pipeline_id": str(other.id)}
    )


def _others(
    connection: Connection, pipeline_id: UUID, organization_id: UUID, target: str | None
) -> list[Row[Any]]:
    """Return the pipelines that fill the table; a copy does not before it is enabled or run."""
    if not target:
        return []
    query = (
        select(
            pipelines.c.id,
            pipelines.c.name,
            pipelines.c.sync_mode,
            pipelines.c.target_use,
            pipelines.c.created_at,
        )
        .where(
            pipelines.c.organization_id == organization_id,
            pipelines.c.target == target,
            pipelines.c.deleted_at.is_(None),
            pipelines.c.target_held,
            pipelines.c.id != pipeline_id,
        )
        .order_by(pipelines.c.created_at, pipelines.c.id)
    )
    return list(connection.execute(query))


def _may_join(use: TableUse, sync_mode: str, other: Row[Any]) -> bool:
    """Whether a pipeline may fill the other's table. A full refresh would delete the other's rows."""
    if use is TableUse.ADOPT:
        return True
    if _FULL_REFRESH in (sync_mode, other.sync_mode):
        return False
    return TableUse.SHARED in (use, TableUse(other.target_use))
