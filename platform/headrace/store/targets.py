"""Which pipeline fills which table. A table is known by a keyed hash of its address and name.

A table has one owner: see docs/exactness.md. Pipelines that an older release stored have no hash until their
config is next changed; the destination's own record protects their tables.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from headrace.errors import Conflict
from headrace.records import TableUse
from headrace.store.schema import pipelines

_FULL_REFRESH = "full_refresh"


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

    hash: str | None  # None: the destination has no table that two pipelines could fill
    use: TableUse
    is_checked: bool = True  # whether a pipeline is refused when it is stored; otherwise its runs are
    is_held: bool = True  # False: a copy, which may fill the table once that is found to be free


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
    if target is None:
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
