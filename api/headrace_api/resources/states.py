"""Sync state over HTTP: the cursor of an incremental pipeline."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from headrace.records import Pipeline, Role, State, StateDemand
from headrace.service.states import States
from headrace_api.http.requests import Call
from headrace_api.http.responses import Answer, Timestamp
from headrace_api.http.routing import Routes

routes = Routes(tag="Pipelines")


class StateView(BaseModel):
    """The sync state of a pipeline."""

    sync_mode: str
    cursor: Any = Field(description="The next run reads after this cursor; null: from the beginning.")
    run_id: UUID | None = Field(description="The run that loaded up to the cursor; null if a client set it.")
    pending: StateDemand | None = Field(
        description="The change that a client asked for and the next run will make."
    )
    updated_at: Timestamp | None


class NewState(BaseModel):
    """The cursor to continue from."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"cursor": "2024-01-15T10:00:00Z"}]}
    )

    cursor: str | int | float | dict[str, Any] = Field(
        description="A string, a number or an object, in the form that the state shows."
    )


@routes("GET", "/api/pipelines/{pipeline_id:uuid}/state", role=Role.VIEWER, problems=(404,))
def get_state(call: Call, pipeline_id: UUID) -> Answer[StateView]:
    """Get the sync state of a pipeline."""
    return Answer(body=_view(*_states(call).get(pipeline_id)))


@routes("PUT", "/api/pipelines/{pipeline_id:uuid}/state", role=Role.EDITOR, problems=(404,))
def set_state(call: Call, pipeline_id: UUID, body: NewState) -> Answer[StateView]:
    """Have the next run read after this cursor, whatever was loaded before."""
    return Answer(body=_view(*_states(call).set(pipeline_id, body.cursor)))


@routes("DELETE", "/api/pipelines/{pipeline_id:uuid}/state", role=Role.EDITOR, problems=(404,))
def reset_state(call: Call, pipeline_id: UUID) -> Answer[StateView]:
    """Have the next run read everything and replace the destination's table."""
    return Answer(body=_view(*_states(call).reset(pipeline_id)))


def _states(call: Call) -> States:
    return States(call.backend.platform, call.principal)


def _view(pipeline: Pipeline, state: State) -> StateView:
    return StateView(
        sync_mode=pipeline.sync_mode,
        cursor=state.cursor,
        run_id=state.load_id,
        pending=state.demand,
        updated_at=state.updated_at,
    )
