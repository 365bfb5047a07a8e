"""A run as Dagster knows it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from headrace.naming import RUN_ID_TAG, pipeline_id_of
from headrace.records import RunStatus
from headrace.store.lifecycle.upkeep import Launch


@dataclass(frozen=True, kw_only=True)
class DagsterRun:
    """Dagster's record of a run."""

    id: str  # Dagster's own
    dagster_status: str
    status: RunStatus
    updated_at: datetime
    began: bool  # whether its process reported that it had started

    @property
    def silent_seconds(self) -> float:
        """How long nothing has changed. A time ahead is before the clock was set back, so it counts, too."""
        return abs(time.time() - self.updated_at.timestamp())


@dataclass(frozen=True, kw_only=True)
class TaggedRun:
    """A run with what it was launched for; None if it is no run of a pipeline."""

    run: DagsterRun
    launch: Launch | None


def run_of(result: Mapping[str, Any]) -> DagsterRun:
    """Convert a `Run` of Dagster's GraphQL schema."""
    return DagsterRun(
        id=result["runId"],
        dagster_status=result["status"],
        status=status_of(result["status"]),
        updated_at=datetime.fromtimestamp(result["updateTime"] or 0.0, UTC),
        began=result["startTime"] is not None,
    )


def tagged_run_of(result: Mapping[str, Any]) -> TaggedRun:
    """Convert a `Run` with its job's name and its tags."""
    run, pipeline_id = run_of(result), pipeline_id_of(result["jobName"])
    tags = {tag["key"]: tag["value"] for tag in result["tags"]}
    run_id = UUID(tags[RUN_ID_TAG]) if RUN_ID_TAG in tags else None
    launch = Launch(dagster_run_id=run.id, pipeline_id=pipeline_id, run_id=run_id) if pipeline_id else None
    return TaggedRun(run=run, launch=launch)


def status_of(dagster_status: str) -> RunStatus:
    """Map Dagster's status. A status that a newer Dagster adds counts as running."""
    match dagster_status:
        case "NOT_STARTED" | "QUEUED" | "STARTING":
            return RunStatus.PENDING
        case "SUCCESS":
            return RunStatus.SUCCESS
        case "FAILURE":
            return RunStatus.FAILED
        case "CANCELED":
            return RunStatus.CANCELLED
        case _:
            return RunStatus.RUNNING
