"""Use case of the organization's figures."""

from headrace.records import Principal
from headrace.service.platform import Platform
from headrace.store.stats import Figures, StatsStore


def figures(platform: Platform, principal: Principal) -> Figures:
    """Return the figures of the principal's organization at this moment."""
    return StatsStore(platform.database, principal.organization_id).figures()
