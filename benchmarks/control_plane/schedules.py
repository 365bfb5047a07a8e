"""Many schedules that are due in the same minute."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from benchmarks.control_plane.figures import Figure, single, timed
from benchmarks.control_plane.platform import BenchPlatform
from sqlalchemy import Row, select

from headrace.store.schema import runs

_FIRST_SLOT_SECONDS = 130.0
"""A schedule that is new to Dagster's daemon fires at the second full minute, at the latest after this."""
_LONGEST_SECONDS = 600.0


def schedules(platform: BenchPlatform, count: int) -> list[Figure]:
    """Create pipelines whose schedules share one slot; each must have exactly one run of it, and succeed."""
    slot = (datetime.now(UTC) + timedelta(seconds=_FIRST_SLOT_SECONDS + count / 20)).replace(
        second=0, microsecond=0
    ) + timedelta(minutes=1)
    cron = f"{slot.minute} {slot.hour} {slot.day} {slot.month} *"
    made = [platform.create(f"Due {number}", schedule=cron) for number in range(count)]
    if datetime.now(UTC) > slot - timedelta(seconds=_FIRST_SLOT_SECONDS):
        raise SystemExit("Creating the pipelines took too long.")
    time.sleep(max(0.0, slot.timestamp() - time.time()))
    found = _wait_for_runs(platform, [pipeline.id for pipeline in made], slot)
    lateness = [(row.created_at - slot).total_seconds() for row in found]
    finished = max(row.finished_at for row in found) - min(row.created_at for row in found)
    return [
        timed(f"lateness of {count} runs due at once", lateness, note="each slot has exactly one run"),
        single("their runs finished a minute", 60 * count / finished.total_seconds(), "runs"),
    ]


def _wait_for_runs(platform: BenchPlatform, pipeline_ids: list[UUID], slot: datetime) -> list[Row]:
    query = select(runs).where(runs.c.pipeline_id.in_(pipeline_ids))
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        with platform.database.read() as connection:
            found = list(connection.execute(query).all())
        if len(found) >= len(pipeline_ids) and all(row.finished_at for row in found):
            _require_each_once(found, pipeline_ids, slot)
            return found
        time.sleep(0.5)
    ended = sum(row.finished_at is not None for row in found)
    raise SystemExit(
        f"Of {len(pipeline_ids)} slots {len(found)} have a run, and {ended} of these have ended."
    )


def _require_each_once(found: list[Row], pipeline_ids: list[UUID], slot: datetime) -> None:
    slots = sorted((row.pipeline_id, row.scheduled_at, row.status) for row in found)
    if slots != sorted((pipeline_id, slot, "success") for pipeline_id in pipeline_ids):
        raise SystemExit("Not each slot has exactly one run, which succeeded.")
