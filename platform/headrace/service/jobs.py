"""What the Dagster code location reads, across organizations."""

from datetime import datetime
from uuid import UUID

from headrace.records import JobCard
from headrace.service.platform import Platform
from headrace.store.jobs import JobStore
from headrace.store.slots import SlotStore


class Jobs(JobStore):
    """The catalogue of pipelines as far as Dagster may know it."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform.database)
        self._slots = SlotStore(platform.database)

    def stamp(self) -> tuple[int]:
        """Return a value that changes whenever any card does."""
        return (self.sequence(),)

    def all(self) -> list[JobCard]:
        """Return the cards of all pipelines."""
        return list(self.changed_after(0)[1])

    def take_slot(self, pipeline_id: UUID, scheduled_at: datetime) -> UUID | str:
        """Take a schedule's slot: return the run to launch now, or why there is nothing to launch."""
        return self._slots.take(pipeline_id, scheduled_at)
