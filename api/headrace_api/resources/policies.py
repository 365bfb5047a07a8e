"""Run policies over HTTP."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from headrace.records import Missed, Overlap, Policy

_DAY = 86_400
_DEFAULT = Policy()


class PolicyBody(BaseModel):
    """How a pipeline's runs are started, bounded and repeated."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    max_attempts: Annotated[
        int, Field(ge=1, le=10, description="Attempts of a run whose error may pass, the first one included.")
    ] = _DEFAULT.max_attempts
    retry_delay_seconds: Annotated[
        float, Field(ge=0, le=3600, description="Before the second attempt; doubled before each further one.")
    ] = _DEFAULT.retry_delay_seconds
    timeout_seconds: Annotated[
        Annotated[float, Field(gt=0, le=_DAY)] | None,
        Field(description="How long an attempt may take; null: a day."),
    ] = _DEFAULT.timeout_seconds
    overlap: Annotated[
        Overlap, Field(description="What a slot does while a run of the pipeline has not ended.")
    ] = _DEFAULT.overlap
    missed: Annotated[
        Missed, Field(description="Which slots run late that passed while the daemon was away.")
    ] = _DEFAULT.missed
    jitter_seconds: Annotated[
        float, Field(ge=0, le=3600, description="Spreads starts: each pipeline has a fixed delay up to this.")
    ] = _DEFAULT.jitter_seconds
    priority: Annotated[int, Field(ge=-100, le=100, description="Higher goes first where runs wait.")] = (
        _DEFAULT.priority
    )

    def record(self) -> Policy:
        """Return the policy as the core knows it."""
        return Policy(**self.model_dump())
