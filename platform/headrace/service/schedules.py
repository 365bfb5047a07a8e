"""Use cases of schedules: future slots, and past slots with their outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from headrace.records import Page, Pipeline, Principal, Slot
from headrace.schedule import next_slots
from headrace.service.platform import Platform
from headrace.store.lifecycle.slots import ScheduleLedger
from headrace.store.pipelines import PipelineStore

NEXT_SLOTS = 10


@dataclass(frozen=True, kw_only=True)
class ScheduleView:
    """A pipeline's schedule."""

    pipeline: Pipeline
    next_slots: Sequence[datetime]  # empty if the pipeline is disabled or has no schedule
    past_slots: Sequence[Slot]  # a page of them, newest first
    total_past_slots: int


class Schedules:
    """The schedules of the pipelines that `principal` may see."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._pipelines = PipelineStore(platform.database, principal.organization_id)
        self._ledger = ScheduleLedger(platform.database, principal.organization_id)

    def get(self, pipeline_id: UUID, page: Page) -> ScheduleView:
        """Return the schedule with a page of its past slots. Raises PipelineNotFound."""
        pipeline = self._pipelines.get(pipeline_id)
        past, total = self._ledger.list(pipeline_id, page)
        coming = pipeline.enabled and pipeline.schedule is not None
        return ScheduleView(
            pipeline=pipeline,
            next_slots=next_slots(pipeline.schedule or "", pipeline.timezone, datetime.now(UTC), NEXT_SLOTS)
            if coming
            else (),
            past_slots=past,
            total_past_slots=total,
        )
