"""What the Dagster code location reads, across organizations."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from headrace.failpoints import reach
from headrace.records import JobCard, RunStatus
from headrace.schedule import has_slot
from headrace.service.platform import Platform
from headrace.store.jobs import JobStore
from headrace.store.lifecycle.slots import LATE, SlotStore


class Jobs:
    """The catalogue of pipelines, as far as Dagster may know it."""

    def __init__(self, platform: Platform) -> None:
        self._store = JobStore(platform.database)
        self._slots = SlotStore(platform.database)
        self._slot_lock = threading.Lock()
        self._newest_slot = datetime.min.replace(tzinfo=UTC)

    def stamp(self) -> tuple[int]:
        """Return a value that changes whenever any card does."""
        return (self._store.sequence(),)

    def all(self) -> list[JobCard]:
        """Return the cards of all pipelines."""
        return list(self.changed_after(0)[1])

    def changed_after(self, sequence: int) -> tuple[int, Sequence[JobCard], Sequence[UUID]]:
        """Return the newest change's number, and the pipelines changed and deleted after `sequence`."""
        return self._store.changed_after(sequence)

    def get(self, pipeline_id: UUID) -> JobCard | None:
        """Return one pipeline's card, or None if it is unknown or deleted."""
        return self._store.get(pipeline_id)

    def status_of(self, dagster_run_id: str) -> RunStatus | None:
        """Return the status of the run that a Dagster run executes; None if it executes none now."""
        return self._store.status_of(dagster_run_id)

    def take_slot(self, pipeline_id: UUID, scheduled_at: datetime) -> str:
        """Take a schedule's slot and return its outcome.

        The first call for a minute takes the slots of all pipelines that are due in it. Dagster's daemon
        evaluates one schedule after another, so the last of many would otherwise be late.
        """
        with self._slot_lock:
            if self._newest_slot < scheduled_at and datetime.now(UTC) - scheduled_at < LATE:
                reach("slots_due", pipeline_id)
                self._slots.take_together(
                    scheduled_at, lambda schedule, timezone: has_slot(schedule, timezone, scheduled_at)
                )
                reach("slots_taken", pipeline_id)
                self._newest_slot = scheduled_at
        outcome = self._slots.take(pipeline_id, scheduled_at)
        reach("slot_taken", pipeline_id)
        return outcome
