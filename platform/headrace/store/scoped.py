"""Queries that are limited to one organization, and what stores share: pages, revisions, changes."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Delete, Row, Select, Table, Update, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from headrace.errors import Conflict, NotFound
from headrace.records import Page
from headrace.store.database import Database
from headrace.store.schema import catalogue, pipelines


class PipelineNotFound(NotFound):
    """The organization has no pipeline with this id."""

    code = "pipeline.not_found"
    title = "Pipeline not found"
    hint = "List the pipelines with GET /api/pipelines."


class RevisionMismatch(Conflict):
    """If-Match does not name the newest revision."""

    code = "precondition.failed"
    title = "Changed in the meantime"
    hint = "Read the resource again, and repeat the change."


class Scoped:
    """A store that sees only the rows of one organization. Rows of others do not exist for it."""

    def __init__(self, database: Database, organization_id: UUID) -> None:
        self._database = database
        self._organization_id = organization_id

    def _select(self, table: Table, *columns: Any) -> Select[Any]:
        return select(*columns or (table,)).where(table.c.organization_id == self._organization_id)

    def _update(self, table: Table) -> Update:
        return update(table).where(table.c.organization_id == self._organization_id)

    def _delete(self, table: Table) -> Delete:
        return delete(table).where(table.c.organization_id == self._organization_id)

    def _pipeline(self, connection: Connection, pipeline_id: UUID, *, lock: bool = False) -> Row[Any]:
        """Return the row of a pipeline; `lock` prevents changes until the end of the transaction."""
        query = self._select(pipelines).where(pipelines.c.id == pipeline_id, pipelines.c.deleted_at.is_(None))
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise PipelineNotFound("There is no such pipeline.")
        return row


def page_of(
    connection: Connection, query: Select[Any], page: Page, count: Select[Any] | None = None
) -> tuple[list[Row[Any]], int]:
    """Return the page's rows and the total number of rows, which `count` may select more cheaply."""
    rows = list(connection.execute(query.limit(page.limit).offset(page.offset)).all())
    if len(rows) < page.limit and (rows or not page.offset):
        return rows, page.offset + len(rows)
    if count is None:
        count = select(func.count()).select_from(query.order_by(None).subquery())
    return rows, connection.execute(count).scalar_one()


def replace_row(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """Insert a row, or replace the row with the same primary key."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    key = [column.name for column in table.primary_key]
    changed = {name: value for name, value in values.items() if name not in key}
    insert = dialect.insert(table).values(**values)
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))


def insert_unless_taken(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row; return False and change nothing if a unique key refuses it."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(**values).on_conflict_do_nothing()
    return connection.execute(insert.returning(table.c.id)).first() is not None


def next_sequence(connection: Connection) -> int:
    """Count a change of a pipeline, and return its number."""
    connection.execute(update(catalogue).values(sequence=catalogue.c.sequence + 1))
    sequence: int = connection.execute(select(catalogue.c.sequence)).scalar_one()
    return sequence


def require_revision(revision: int, if_revision: int | None) -> None:
    """Raise RevisionMismatch if `if_revision` is given and differs from the revision."""
    if if_revision is not None and revision != if_revision:
        raise RevisionMismatch("If-Match does not name the newest revision.")
