"""How soon a new pipeline can be launched in Dagster."""

import time
from uuid import UUID

from benchmarks.control_plane.figures import Figure, timed
from benchmarks.control_plane.platform import BenchPlatform

_PLAN = """
query ($job: PipelineSelector!) {
  job: pipelineOrError(params: $job) { __typename }
  plan: executionPlanOrError(pipeline: $job, mode: "default") { __typename }
}
"""
_LONGEST_SECONDS = 60.0


def creates(platform: BenchPlatform, count: int) -> list[Figure]:
    """Create pipelines; ask Dagster for each one's job and plan, as a launch does, until it has both."""
    requests, launchable = [], []
    for number in range(count):
        began = time.monotonic()
        pipeline = platform.create(f"New {number}")
        requests.append(time.monotonic() - began)
        _wait_until_launchable(platform, pipeline.id)
        launchable.append(time.monotonic() - began)
    # What a plan promises, a run keeps.
    run = platform.ended(platform.run(pipeline))
    if run["status"] != "success":
        raise SystemExit(f"The newest pipeline's run ended as {run['status']}: {run['error']}")
    return [timed("create request", requests), timed("create to launchable in Dagster", launchable)]


def _wait_until_launchable(platform: BenchPlatform, pipeline_id: UUID) -> None:
    job = {
        "repositoryLocationName": "headrace_dagster",
        "repositoryName": "__repository__",
        "pipelineName": f"p_{pipeline_id.hex}",
    }
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        answer = platform.graphql(_PLAN, job=job)
        if answer["job"]["__typename"] == "Pipeline" and answer["plan"]["__typename"] == "ExecutionPlan":
            return
        time.sleep(0.01)
    raise SystemExit(f"Pipeline {pipeline_id} was not launchable in {_LONGEST_SECONDS:.0f} s.")
