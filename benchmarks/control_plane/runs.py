"""How soon a run begins, how many finish, how soon a cancelled one is gone."""

import os
import random
import time
from uuid import UUID

from benchmarks.control_plane.figures import Figure, single, timed
from benchmarks.control_plane.platform import BenchPlatform
from benchmarks.control_plane.processor import tree_seconds
from sqlalchemy import func, select

from headrace.store.schema import runs

_LOAD_SECONDS = 600.0
_GONE_SECONDS = 60.0


def triggers(platform: BenchPlatform, count: int) -> list[Figure]:
    """Trigger runs one after another, as a person does: with a short, uneven pause between them."""
    pipeline = platform.create("Triggered")
    requests, running, first = [], [], []
    for number in range(count):
        time.sleep(random.uniform(0.4, 0.8))
        asked = time.time()
        run_id = platform.run(pipeline)
        requests.append(time.time() - asked)
        first.append(pipeline.first_record(number)[0] - asked)
        platform.ended(run_id)
        running.append(platform.claimed_at(run_id) - asked)
    return [
        timed("run request", requests),
        timed("run request to running", running),
        timed("run request to first record", first),
    ]


def load(platform: BenchPlatform, count: int) -> list[Figure]:
    """Trigger a run of each of `count` pipelines at once; all must succeed."""
    pipelines = [platform.create(f"Loaded {number}") for number in range(count)]
    began, had = time.monotonic(), tree_seconds(platform.process.pid)
    wanted = [platform.run(pipeline) for pipeline in pipelines]
    seconds = _wait_for_all(platform, wanted, began)
    time.sleep(2)  # for the workers' last steps
    each = (tree_seconds(platform.process.pid) - had) / count
    return [
        single("runs finished a minute at full load", 60 * count / seconds, "runs", f"of {count} runs"),
        single("processor time of a run", each, "s", "in all processes, but the database's"),
    ]


def _wait_for_all(platform: BenchPlatform, wanted: list[UUID], began: float) -> float:
    """Return how long it took until all runs had succeeded."""
    query = select(runs.c.status, func.count()).where(runs.c.id.in_(wanted)).group_by(runs.c.status)
    while time.monotonic() < began + _LOAD_SECONDS:
        with platform.database.read() as connection:
            found = {str(status): int(number) for status, number in connection.execute(query)}
        if found.keys() <= {"success", "failed", "cancelled"}:
            if found != {"success": len(wanted)}:
                raise SystemExit(f"Runs ended as {found}.")
            return time.monotonic() - began
        time.sleep(0.2)
    raise SystemExit(f"After {_LOAD_SECONDS:.0f} s runs are {found}.")


def cancels(platform: BenchPlatform, count: int) -> list[Figure]:
    """Cancel runs in the midst of their source's work, and wait until their processes are gone."""
    pipeline = platform.create("Cancelled", seconds=300)
    gone = []
    for number in range(count):
        run_id = platform.run(pipeline)
        process = pipeline.first_record(number)[1]
        time.sleep(random.uniform(0.5, 1.5))
        asked = time.monotonic()
        platform.api.post(f"/api/pipelines/runs/{run_id}/cancel").raise_for_status()
        while _exists(process):
            if time.monotonic() > asked + _GONE_SECONDS:
                raise SystemExit(f"The cancelled run's process {process} is still there.")
            time.sleep(0.01)
        gone.append(time.monotonic() - asked)
    return [timed("cancel request to process gone", gone)]


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
