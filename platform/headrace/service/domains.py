"""Use cases of domains."""

from headrace.records import Principal
from headrace.service.platform import Platform
from headrace.store.domains import DomainStore


class Domains(DomainStore):
    """The domains that `principal` may see and change: the store as it is."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        super().__init__(platform.database, principal.organization_id)
