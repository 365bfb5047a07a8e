"""Stored pipelines. This layer sees configs only sealed; the services open them."""

from collections.abc import Sequence
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, exists, func, insert, select

from headrace.errors import FieldError, Invalid
from headrace.records import Page, Pipeline, Policy, RunStatus
from headrace.store.policies import policy_of, policy_text
from headrace.store.runs import cancel_active
from headrace.store.schema import domains, pipeline_tags, pipelines, runs
from headrace.store.scoped import Scoped, next_sequence, page_of, require_revision
from headrace.store.sealed import SealedConfig, sealed_config
from headrace.store.targets import Target, hold_table, require_free


class UnknownDomain(Invalid):
    """The organization does not have this domain."""

    code = "pipeline.domain_unknown"
    title = "Unknown domain"
    hint = "List the domains with GET /api/domains, or set domain_id to null."


class PipelineColumns(TypedDict, total=False):
    """The columns that a client sets."""

    name: str
    source: str
    stream: str
    destination: str
    sync_mode: str
    schedule: str | None
    timezone: str
    enabled: bool
    domain_id: UUID | None
    tags: Sequence[str]
    policy: Policy
    config: SealedConfig
    target: Target


class PipelineStore(Scoped):
    """The pipelines of one organization."""

    def create(self, pipeline_id: UUID, columns: PipelineColumns) -> Pipeline:
        """Store a pipeline at revision 1. Raises UnknownDomain, TableTaken."""
        with self._database.write() as connection:
            self._require_domain(connection, columns.get("domain_id"))
            # Before the table is looked at: of two pipelines at once, the second one sees the first.
            sequence = next_sequence(connection)
            self._require_table(connection, pipeline_id, columns)
            connection.execute(
                insert(pipelines).values(
                    id=pipeline_id,
                    organization_id=self._organization_id,
                    revision=1,
                    sequence=sequence,
                    created_at=self._database.now(connection),
                    **_stored(columns),
                )
            )
            _replace_tags(connection, pipeline_id, columns.get("tags", ()))
            return self._get(connection, pipeline_id)

    def list(
        self,
        page: Page,
        *,
        domain_id: UUID | None = None,
        enabled: bool | None = None,
        tag: str | None = None,
        name_contains: str | None = None,
    ) -> tuple[Sequence[Pipeline], int]:
        """Return a page of the pipelines that match all filters, newest first, and their total number."""
        wanted: list[ColumnElement[bool]] = [pipelines.c.deleted_at.is_(None)]
        if domain_id is not None:
            wanted.append(pipelines.c.domain_id == domain_id)
        if enabled is not None:
            wanted.append(pipelines.c.enabled == enabled)
        if tag is not None:
            tagged = pipeline_tags.c.pipeline_id == pipelines.c.id
            wanted.append(exists().where(tagged, pipeline_tags.c.tag == tag))
        if name_contains is not None:
            wanted.append(pipelines.c.name.icontains(name_contains, autoescape=True))
        # Counted without the joins, which always find one row and take most of the time.
        count = self._select(pipelines, func.count()).where(*wanted)
        with self._database.read() as connection:
            rows, total = page_of(connection, self._query().where(*wanted), page, count)
            return _pipelines_of(connection, rows), total

    def get(self, pipeline_id: UUID) -> Pipeline:
        """Return the pipeline. Raises PipelineNotFound."""
        with self._database.read() as connection:
            return self._get(connection, pipeline_id)

    def get_with_config(self, pipeline_id: UUID) -> tuple[Pipeline, SealedConfig]:
        """Return the pipeline and its sealed config in one transaction. Raises PipelineNotFound."""
        with self._database.read() as connection:
            return self._get(connection, pipeline_id), sealed_config(self._pipeline(connection, pipeline_id))

    def update(
        self, pipeline_id: UUID, columns: PipelineColumns, *, if_revision: int | None = None
    ) -> Pipeline:
        """Change the columns of the pipeline, and count its revision up.

        A config among them is sealed for the revision after `if_revision`, which it needs.
        Raises PipelineNotFound, RevisionMismatch, UnknownDomain, TableTaken.
        """
        assert "config" not in columns or if_revision is not None, "a seal is bound to its revision"
        with self._database.write() as connection:
            row = self._pipeline(connection, pipeline_id, lock=True)
            require_revision(row.revision, if_revision)
            self._require_domain(connection, columns.get("domain_id"))
            sequence = next_sequence(connection)
            if "target" in columns:
                self._require_table(connection, pipeline_id, columns, is_copy=not row.target_held)
            elif columns.get("enabled") and not row.target_held:
                hold_table(connection, row)
            connection.execute(
                self._update(pipelines)
                .where(pipelines.c.id == pipeline_id)
                .values(
                    revision=row.revision + 1,
                    sequence=sequence,
                    updated_at=self._database.now(connection),
                    **_stored(columns),
                )
            )
            if "tags" in columns:
                _replace_tags(connection, pipeline_id, columns["tags"])
            return self._get(connection, pipeline_id)

    def delete(self, pipeline_id: UUID, *, if_revision: int | None = None) -> None:
        """Delete the pipeline: clear its config and hide it and its runs from all readers.

        Active runs are cancelled. A tombstone stays until the purger has deleted the rest.
        Raises PipelineNotFound, RevisionMismatch.
        """
        with self._database.write() as connection:
            row = self._pipeline(connection, pipeline_id, lock=True)
            require_revision(row.revision, if_revision)
            now = self._database.now(connection)
            cancel_active(connection, runs.c.pipeline_id == pipeline_id, now)
            _replace_tags(connection, pipeline_id, ())
            connection.execute(
                self._update(pipelines)
                .where(pipelines.c.id == pipeline_id)
                .values(
                    deleted_at=now,
                    sequence=next_sequence(connection),
                    enabled=False,
                    schedule=None,
                    domain_id=None,
                    config=None,
                    config_key_id=None,
                )
            )

    def names(self, starting_with: str) -> set[str]:
        """Return the names that start with a text, to find a free one."""
        query = self._select(pipelines, pipelines.c.name).where(
            pipelines.c.deleted_at.is_(None), pipelines.c.name.startswith(starting_with, autoescape=True)
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def _query(self) -> Select[Any]:
        newest = (
            select(runs.c.id)
            .where(runs.c.pipeline_id == pipelines.c.id)
            .order_by(runs.c.created_at.desc(), runs.c.id.desc())
            .limit(1)
            .correlate(pipelines)
            .scalar_subquery()
        )
        columns = (
            pipelines,
            domains.c.name.label("domain_name"),
            runs.c.status.label("last_run_status"),
            runs.c.started_at.label("last_run_started_at"),
            runs.c.created_at.label("last_run_created_at"),
        )
        return (
            self._select(pipelines, *columns)
            .outerjoin(domains, domains.c.id == pipelines.c.domain_id)
            .outerjoin(runs, runs.c.id == newest)
            .order_by(pipelines.c.created_at.desc(), pipelines.c.id.desc())
        )

    def _get(self, connection: Connection, pipeline_id: UUID) -> Pipeline:
        self._pipeline(connection, pipeline_id)
        rows = connection.execute(self._query().where(pipelines.c.id == pipeline_id)).all()
        return _pipelines_of(connection, rows)[0]

    def stamp_target(self, pipeline_id: UUID, target: Target) -> None:
        """Store the table of a pipeline that an older release has stored without one."""
        with self._database.write() as connection:
            connection.execute(
                self._update(pipelines)
                .where(pipelines.c.id == pipeline_id, pipelines.c.target.is_(None))
                .values(target=target.hash, target_use=target.use)
            )

    def _require_table(
        self, connection: Connection, pipeline_id: UUID, columns: PipelineColumns, *, is_copy: bool = False
    ) -> None:
        """Raise TableTaken where another pipeline fills the table that the columns name."""
        target = columns.get("target")
        if target is not None and target.is_held and (target.is_checked or is_copy):
            require_free(
                connection,
                pipeline_id,
                self._organization_id,
                target=target.hash,
                use=target.use,
                sync_mode=columns["sync_mode"],
            )

    def _require_domain(self, connection: Connection, domain_id: UUID | None) -> None:
        if domain_id is None:
            return
        # Locked, so the domain is not deleted before this pipeline is stored.
        found = self._select(domains, domains.c.id).where(domains.c.id == domain_id)
        if connection.execute(found.with_for_update(read=True, key_share=True)).one_or_none() is None:
            fault = FieldError(
                pointer="/domain_id", code=UnknownDomain.code, detail="There is no such domain."
            )
            raise UnknownDomain("There is no such domain.", errors=[fault])


def tags_of(connection: Connection, pipeline_ids: Sequence[UUID]) -> dict[UUID, tuple[str, ...]]:
    """Return the tags of each pipeline that has any, in order."""
    query = (
        select(pipeline_tags.c.pipeline_id, pipeline_tags.c.tag)
        .where(pipeline_tags.c.pipeline_id.in_(pipeline_ids))
        .order_by(pipeline_tags.c.pipeline_id, pipeline_tags.c.position)
    )
    found: dict[UUID, tuple[str, ...]] = {}
    for pipeline_id, tag in connection.execute(query):
        found[pipeline_id] = (*found.get(pipeline_id, ()), tag)
    return found


def _stored(columns: PipelineColumns) -> dict[str, Any]:
    """Return the columns of `pipelines`; tags are in another table."""
    stored: dict[str, Any] = {
        name: value for name, value in columns.items() if name not in ("tags", "policy", "config", "target")
    }
    if "policy" in columns:
        stored["policy"] = policy_text(columns["policy"])
    if "target" in columns:
        target = columns["target"]
        stored |= {"target": target.hash, "target_use": target.use, "target_held": target.is_held}
    if "config" in columns:
        config = columns["config"]
        stored |= {
            "config": config.sealed,
            "config_key_id": config.key_id,
            "config_revision": config.revision,
        }
    return stored


def _replace_tags(connection: Connection, pipeline_id: UUID, tags: Sequence[str]) -> None:
    connection.execute(delete(pipeline_tags).where(pipeline_tags.c.pipeline_id == pipeline_id))
    if tags:
        rows = [{"pipeline_id": pipeline_id, "position": at, "tag": tag} for at, tag in enumerate(tags)]
        connection.execute(insert(pipeline_tags), rows)


def _pipelines_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Pipeline]:
    tags = tags_of(connection, [row.id for row in rows])
    return [_pipeline_of(row, tags.get(row.id, ())) for row in rows]


def _pipeline_of(row: Row[Any], tags: tuple[str, ...]) -> Pipeline:
    columns = row._mapping
    return Pipeline(
        **{name: columns[name] for name in _COPIED},
        tags=tags,
        policy=policy_of(row.policy),
        last_run_status=RunStatus(row.last_run_status) if row.last_run_status else None,
        last_run_at=row.last_run_started_at or row.last_run_created_at,
    )


_COPIED = tuple(
    name
    for name in Pipeline.__dataclass_fields__
    if name not in ("tags", "policy", "last_run_status", "last_run_at")
)
