"""Use cases of domains."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from headrace.records import Domain, Page, Principal
from headrace.service.platform import Platform
from headrace.store.domains import DomainStore


class Domains:
    """The domains of the principal's organization."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._store = DomainStore(platform.database, principal.organization_id)

    def create(self, columns: Mapping[str, Any]) -> Domain:
        """Store a domain. Raises DomainNameTaken."""
        return self._store.create(columns)

    def list(self, page: Page) -> tuple[Sequence[Domain], int]:
        """Return a page of domains, newest first, and how many there are."""
        return self._store.list(page)

    def get(self, domain_id: UUID) -> Domain:
        """Return the domain. Raises DomainNotFound."""
        return self._store.get(domain_id)

    def update(
        self, domain_id: UUID, columns: Mapping[str, Any], *, if_revision: int | None = None
    ) -> Domain:
        """Change the domain. Raises DomainNotFound, RevisionMismatch, DomainNameTaken."""
        return self._store.update(domain_id, columns, if_revision=if_revision)

    def delete(self, domain_id: UUID, *, if_revision: int | None = None) -> None:
        """Delete the domain. Raises DomainNotFound, RevisionMismatch, DomainInUse."""
        self._store.delete(domain_id, if_revision=if_revision)
