"""Use case of the organization's figures."""

from headrace.records import Principal
from headrace.service.platform import Platform
from headrace.store.stats import StatsStore


class Stats(StatsStore):
    """The figures of the principal's organization: the store as it is."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        super().__init__(platform.database, principal.organization_id)
