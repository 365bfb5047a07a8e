"""A run as Dagster knows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from headrace.naming import RUN_ID_TAG
from headrace.records import RunStatus


@dataclass(frozen=True, kw_only=True)
class DagsterRun:
    """Dagster's record of a run."""

    id: str  # Dagster's own
    run_id: UUID | None  # the platform's; None if the run was started in Dagster's UI
    dagster_status: str
    status: RunStatus
    updated_at: datetime


def run_of(result: Mapping[str, Any]) -> DagsterRun:
    """Convert a `Run` of Dagster's GraphQL schema."""
    tags = {tag["key"]: tag["value"] for tag in result["tags"]}
    return DagsterRun(
        id=result["runId"],
        run_id=_uuid_or_none(tags.get(RUN_ID_TAG)),
        dagster_status=result["status"],
        status=status_of(result["status"]),
        updated_at=datetime.fromtimestamp(result["updateTime"] or 0.0, UTC),
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


def _uuid_or_none(text: str | None) -> UUID | None:
    """Ignore a tag that is not a UUID: anyone can edit tags in Dagster's UI."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
