"""Pipeline ids to Dagster names and back.

Dagster hangs a job's history on its name, which must match `^[A-Za-z0-9_]+$`: so the name comes from the
pipeline's id, which never changes, and the human name goes into descriptions and tags.
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
    """Return what the keys of all assets of one pipeline begin with, whatever it has been reading."""
    return ("pipelines", pipeline_id.hex[:12])


def asset_key(pipeline_id: UUID, source: str, stream: str) -> tuple[str, ...]:
    """Return the key of the data that a pipeline brings: it changes with the stream, not with the name."""
    return (*asset_prefix(pipeline_id), source, stream)


def pipeline_id_of(name: str) -> UUID | None:
    """Return the pipeline that a job's or schedule's name stands for; None for any other name."""
    digits = name.removeprefix("p_").removesuffix("_schedule")
    try:
        pipeline_id = UUID(hex=digits)
    except ValueError:
        return None
    return pipeline_id if name in (job_name(pipeline_id), schedule_name(pipeline_id)) else None
