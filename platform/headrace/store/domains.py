"""Stored domains."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, update

from headrace.errors import Conflict, NotFound
from headrace.records import Domain, Page
from headrace.store.database import ConstraintViolated
from headrace.store.schema import domains, pipelines
from headrace.store.scoped import Scoped, insert_unless_taken, next_sequence, page_of, require_revision


class DomainNotFound(NotFound):
    """The organization has no domain with this id."""

    code = "domain.not_found"
    title = "Domain not found"
    hint = "List the domains with GET /api/domains."


class DomainNameTaken(Conflict):
    """Another domain of the organization has this name."""

    code = "domain.name_taken"
    title = "Name taken"
    hint = "Choose another name."


class DomainInUse(Conflict):
    """A domain with pipelines cannot be deleted."""

    code = "domain.in_use"
    title = "Domain in use"
    hint = "First move its pipelines: PUT /api/pipelines/{id} with another domain_id, or null."


class DomainStore(Scoped):
    """The domains of one organization."""

    def create(self, columns: Mapping[str, Any]) -> Domain:
        """Store a domain. Raises DomainNameTaken."""
        with self._database.write() as connection:
            row = {
                "id": uuid4(),
                "organization_id": self._organization_id,
                "revision": 1,
                "created_at": self._database.now(connection),
                **columns,
            }
            if not insert_unless_taken(connection, domains, row):
                raise DomainNameTaken("Another domain has this name.")
            return self._get(connection, row["id"])

    def list(self, page: Page) -> tuple[Sequence[Domain], int]:
        """Return a page of domains, newest first, and how many there are."""
        query = self._select(domains).order_by(domains.c.created_at.desc(), domains.c.id.desc())
        with self._database.read() as connection:
            rows, total = page_of(connection, query, page)
            return [_domain_of(row) for row in rows], total

    def get(self, domain_id: UUID) -> Domain:
        """Return the domain. Raises DomainNotFound."""
        with self._database.read() as connection:
            return self._get(connection, domain_id)

    def update(
        self, domain_id: UUID, columns: Mapping[str, Any], *, if_revision: int | None = None
    ) -> Domain:
        """Change the domain. Raises DomainNotFound, RevisionMismatch, DomainNameTaken."""
        try:
            with self._database.write() as connection:
                domain = self._get(connection, domain_id, lock=True)
                require_revision(domain.revision, if_revision)
                connection.execute(
                    self._update(domains)
                    .where(domains.c.id == domain_id)
                    .values(
                        revision=domain.revision + 1, updated_at=self._database.now(connection), **columns
                    )
                )
                # Dagster shows the domain's name with each of its pipelines.
                connection.execute(
                    update(pipelines)
                    .where(pipelines.c.domain_id == domain_id)
                    .values(sequence=next_sequence(connection))
                )
                return self._get(connection, domain_id)
        except ConstraintViolated:
            raise DomainNameTaken("Another domain has this name.") from None

    def delete(self, domain_id: UUID, *, if_revision: int | None = None) -> None:
        """Delete the domain. Raises DomainNotFound, RevisionMismatch, DomainInUse."""
        try:
            with self._database.write() as connection:
                require_revision(self._get(connection, domain_id, lock=True).revision, if_revision)
                connection.execute(self._delete(domains).where(domains.c.id == domain_id))
        except ConstraintViolated:
            raise DomainInUse("The domain has pipelines.") from None

    def _get(self, connection: Connection, domain_id: UUID, *, lock: bool = False) -> Domain:
        query = self._select(domains).where(domains.c.id == domain_id)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:
            raise DomainNotFound("There is no such domain.")
        return _domain_of(row)


def _domain_of(row: Any) -> Domain:
    return Domain(**{name: row._mapping[name] for name in Domain.__dataclass_fields__})
