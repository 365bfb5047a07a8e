"""What the Dagster code location reads, across organizations."""

from headrace.records import JobCard
from headrace.service.platform import Platform
from headrace.store.jobs import JobStore


class Jobs(JobStore):
    """The catalogue of pipelines as far as Dagster may know it."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(platform.database)

    def stamp(self) -> tuple[int]:
        """Return a value that changes whenever any card does."""
        return (self.sequence(),)

    def all(self) -> list[JobCard]:
        """Return the cards of all pipelines."""
        return list(self.changed_after(0)[1])
