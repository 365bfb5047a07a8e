"""Run policies, a part of pipelines."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from headrace.records import Missed, Overlap, Policy

_DAY = 86_400
_DEFAULT = Policy()


class PolicyBody(BaseModel):
    """How a pipeline's runs are started, limited and retried."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    max_attempts: Annotated[
        int,
        Field(ge=1, le=10, description="Attempts if the error may be temporary, including the first."),
    ] = _DEFAULT.max_attempts
    retry_delay_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="Delay before the second attempt; doubles before each further one.",
        ),
    ] = _DEFAULT.retry_delay_seconds
    timeout_seconds: Annotated[
        Annotated[float, Field(gt=0, le=_DAY)] | None,
        Field(description="Time limit of an attempt; null: one day."),
    ] = _DEFAULT.timeout_seconds
    overlap: Annotated[
        Overlap, Field(description="What happens to a slot while a run of the pipeline is active.")
    ] = _DEFAULT.overlap
    missed: Annotated[
        Missed, Field(description="Which slots missed while the daemon was down are run late.")
    ] = _DEFAULT.missed
    jitter_seconds: Annotated[
        float,
        Field(ge=0, le=3600, description="Spreads starts: each pipeline has a fixed delay of at most this."),
    ] = _DEFAULT.jitter_seconds
    priority: Annotated[
        int, Field(ge=-100, le=100, description="Runs that wait start in order of priority, highest first.")
    ] = _DEFAULT.priority

    def record(self) -> Policy:
        """Convert to the core's record."""
        return Policy(**self.model_dump())
