"""What the Dagster code location reads, across organizations."""

import threading
from datetime import UTC, datetime
from uuid import UUID

from headrace.records import JobCard
from headrace.schedule import has_slot
from headrace.service.platform import Platform
from headrace.store.jobs import JobStore
from headrace.store.slots import LATE, SlotStore


class Jobs(JobStore):
    """The catalogue of pipelines as far as Dagster may know it."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform.database)
        self._slots = SlotStore(platform.database)
        self._slot_lock = threading.Lock()
        self._newest_slot = datetime.min.replace(tzinfo=UTC)

    def stamp(self) -> tuple[int]:
        """Return a value that changes whenever any card does."""
        return (self.sequence(),)

    def all(self) -> list[JobCard]:
        """Return the cards of all pipelines."""
        return list(self.changed_after(0)[1])

    def take_slot(self, pipeline_id: UUID, scheduled_at: datetime) -> str:
        """Take a schedule's slot; say what became of it.

        The first to ask for a minute takes the slots of all pipelines that are due then: Dagster's daemon
        comes by one by one, and the last of many would be late.
        """
        with self._slot_lock:
            if self._newest_slot < scheduled_at and datetime.now(UTC) - scheduled_at < LATE:
                self._slots.take_together(
                    scheduled_at, lambda schedule, timezone: has_slot(schedule, timezone, scheduled_at)
                )
                self._newest_slot = scheduled_at
        return self._slots.take(pipeline_id, scheduled_at)
