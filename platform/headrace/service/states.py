"""Use cases of sync state."""

from typing import Any
from uuid import UUID

from headrace.errors import FieldError, Invalid
from headrace.failpoints import reach
from headrace.records import Pipeline, Principal, State, StateDemand
from headrace.service.platform import Platform
from headrace.store.pipelines import PipelineStore
from headrace.store.states import StateStore


class NotIncremental(Invalid):
    """State belongs to incremental pipelines; a full refresh reads everything each time."""

    code = "state.not_incremental"
    title = "Pipeline is not incremental"
    hint = "Set sync_mode to incremental in the pipeline's source."


class States:
    """The states of the pipelines that `principal` may see and change."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._pipelines = PipelineStore(platform.database, principal.organization_id)
        self._states = StateStore(platform.database, principal.organization_id)

    def get(self, pipeline_id: UUID) -> tuple[Pipeline, State]:
        """Return the pipeline and how far it has read. Raises PipelineNotFound."""
        return self._pipelines.get(pipeline_id), self._states.get(pipeline_id)

    def set(self, pipeline_id: UUID, cursor: Any) -> tuple[Pipeline, State]:
        """Let the next run read after `cursor`. Raises PipelineNotFound, NotIncremental."""
        if cursor is None:
            fault = FieldError(pointer="/cursor", code="field.null", detail="To start over, reset the state.")
            raise Invalid("A cursor cannot be null.", errors=[fault])
        return self._demand(pipeline_id, StateDemand.SET, cursor)

    def reset(self, pipeline_id: UUID) -> tuple[Pipeline, State]:
        """Let the next run read everything and replace the destination's table.

        Raises PipelineNotFound, NotIncremental.
        """
        return self._demand(pipeline_id, StateDemand.RESET, None)

    def _demand(self, pipeline_id: UUID, demand: StateDemand, cursor: Any) -> tuple[Pipeline, State]:
        pipeline = self._pipelines.get(pipeline_id)
        if pipeline.sync_mode != "incremental":
            raise NotIncremental("The pipeline is not incremental.")
        state = self._states.demand(pipeline_id, demand, cursor)
        reach("state_set", pipeline_id)
        return pipeline, state
