"""A run as Dagster knows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headrace.records import RunStatus


@dataclass(frozen=True, kw_only=True)
class DagsterRun:
    """Dagster's record of a run."""

    id: str  # Dagster's own
    dagster_status: str
    status: RunStatus
    updated_at: datetime
    began: bool  # whether its process reported that it had started


def run_of(result: Mapping[str, Any]) -> DagsterRun:
    """Convert a `Run` of Dagster's GraphQL schema."""
    return DagsterRun(
        id=result["runId"],
        dagster_status=result["status"],
        status=status_of(result["status"]),
        updated_at=datetime.fromtimestamp(result["updateTime"] or 0.0, UTC),
        began=result["startTime"] is not None,
    )


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
