"""The stores that the control loops work from, with the limits that the settings give."""

from datetime import timedelta

from headrace.failpoints import reach
from headrace.service.platform import Platform
from headrace.store.lifecycle.queue import Limits
from headrace.store.lifecycle.retention import Keep, RetentionStore
from headrace.store.lifecycle.slots import SlotStore
from headrace.store.lifecycle.upkeep import UpkeepStore


def upkeep_store(platform: Platform) -> UpkeepStore:
    """Return the store of due work: runs to launch, to stop, to repair; pipelines to purge."""
    settings = platform.settings
    limits = Limits(
        total=settings.max_concurrent_runs,
        per_source=settings.max_runs_per_source,
        per_domain=settings.max_runs_per_domain,
    )
    return UpkeepStore(platform.database, limits)


def retention_store(platform: Platform) -> RetentionStore:
    """Return the store of what has outlived its retention."""
    settings = platform.settings
    keep = Keep(
        age=timedelta(days=settings.retention_days) if settings.retention_days else None,
        newest=settings.retention_keep_runs,
        most=settings.retention_max_runs or None,
    )
    return RetentionStore(platform.database, keep)


def admit_waiting_slots(platform: Platform) -> None:
    """Create runs for the slots that were waiting for a run of their pipeline to end."""
    if SlotStore(platform.database).admit_waiting():
        reach("admitted")


def prune(platform: Platform) -> bool:
    """Delete a batch of rows that nothing refers to; return True if it was full."""
    is_full = retention_store(platform).prune()
    reach("pruned")
    return is_full
