"""Dagster's names for pipelines.

Dagster keeps a job's history by the job's name, which must match `^[A-Za-z0-9_]+$`. So the name comes from
the pipeline's id, which never changes. The pipeline's own name is shown in descriptions and tags.
"""

from uuid import UUID

LOCATION = "headrace_dagster"
REPOSITORY = "__repository__"
RUN_ID_TAG = "headrace/run_id"
ATTEMPT_TAG = "headrace/attempt"
PIPELINE_ID_TAG = "headrace/pipeline_id"
LAUNCHABLE_PATH = "/headrace/launchable"
"""Page of Dagster's webserver: 204 if a run could be launched now, else 503 with the reason."""


def job_name(pipeline_id: UUID) -> str:
    """Return `p_` and the id's 32 hex digits."""
    return f"p_{pipeline_id.hex}"


def schedule_name(pipeline_id: UUID) -> str:
    """Return the name of the schedule that runs `job_name(pipeline_id)`."""
    return f"{job_name(pipeline_id)}_schedule"


def asset_prefix(pipeline_id: UUID) -> tuple[str, str]:
    """Return the common prefix of the keys of all assets of one pipeline."""
    return ("pipelines", pipeline_id.hex[:12])


def asset_key(pipeline_id: UUID, source: str, stream: str) -> tuple[str, ...]:
    """Return the asset key of a pipeline's data. It depends on the stream, not on the pipeline's name."""
    return (*asset_prefix(pipeline_id), source, stream)


def pipeline_id_of(name: str) -> UUID | None:
    """Return the pipeline's id for the name of its job or schedule; None for any other name."""
    digits = name.removeprefix("p_").removesuffix("_schedule")
    try:
        pipeline_id = UUID(hex=digits)
    except ValueError:
        return None
    return pipeline_id if name in (job_name(pipeline_id), schedule_name(pipeline_id)) else None
