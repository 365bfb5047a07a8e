"""What the control loops take up, across organizations."""

from datetime import timedelta

from headrace.service.platform import Platform
from headrace.store.queue import Limits
from headrace.store.retention import Keep, RetentionStore
from headrace.store.slots import SlotStore
from headrace.store.upkeep import UpkeepStore


class Upkeep(UpkeepStore):
    """The work of the control loops: the store as it is."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings
        limits = Limits(
            total=settings.max_concurrent_runs,
            per_source=settings.max_runs_per_source,
            per_domain=settings.max_runs_per_domain,
        )
        super().__init__(platform.database, limits)
        self._slots = SlotStore(platform.database)

    def admit_waiting_slots(self) -> None:
        """Make runs of the slots that waited for a run of their pipeline to end."""
        self._slots.admit_waiting()


class Retention(RetentionStore):
    """What outlives its use: the store as it is."""

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings
        keep = Keep(
            age=timedelta(days=settings.retention_days) if settings.retention_days else None,
            newest=settings.retention_keep_runs,
            most=settings.retention_max_runs or None,
        )
        super().__init__(platform.database, keep)
