"""Schedules over HTTP: the next slots, and the outcome of past slots."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from headrace.records import Role, RunStatus, SlotOutcome
from headrace.service.schedules import Schedules
from headrace_api.http.pagination import Paging, page_headers, page_of
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp
from headrace_api.http.routing import Routes

routes = Routes(tag="Pipelines")


class SlotView(BaseModel):
    """A past slot of the schedule, and its outcome."""

    model_config = ConfigDict(from_attributes=True)

    scheduled_at: Timestamp
    outcome: SlotOutcome
    reason: str | None = Field(description="Why the slot has no run, or waits for one.")
    run_id: UUID | None
    run_status: RunStatus | None


class ScheduleBody(BaseModel):
    """A pipeline's schedule."""

    schedule: str | None = Field(description="Null: manual runs only.")
    timezone: str
    enabled: bool
    next: Sequence[Timestamp] = Field(description="The next ten slots. Empty if there are none.")
    past: Sequence[SlotView] = Field(description="A page of the past slots, newest first.")


@routes("GET", "/api/pipelines/{pipeline_id:uuid}/schedule", role=Role.VIEWER, problems=(404,))
def get_schedule(call: Call, pipeline_id: UUID, query: Paging) -> Answer[ScheduleBody]:
    """Get a pipeline's schedule, its next ten slots, and the outcome of past slots.

    `limit` and `offset` select a page of the past slots. `X-Total-Count` is the number of past slots.
    """
    page = page_of(query)
    found = Schedules(call.backend.platform, call.principal).get(pipeline_id, page)
    body = ScheduleBody(
        schedule=found.pipeline.schedule,
        timezone=found.pipeline.timezone,
        enabled=found.pipeline.enabled,
        next=found.next_slots,
        past=[SlotView.model_validate(slot) for slot in found.past_slots],
    )
    return Answer(body=body, headers=page_headers(call.request, page, found.total_past_slots))
