"""Jobs that stand for pipelines: one that ends at once, one that takes its time, one that fails, one that
will not stop.
"""

import time
from uuid import UUID

import dagster

from headrace.naming import REPOSITORY, asset_key, job_name

QUICK, SLOW, FAILING, STUBBORN = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)


@dagster.op(out=dagster.Out(dagster.Nothing))
def quick(context: dagster.OpExecutionContext) -> None:
    context.log.info("Starting pipeline %s", "quick")
    context.log.warning("Two\nlines")
    context.log_event(dagster.AssetMaterialization(asset_key=asset_key(QUICK, "dummy", "users")))


@dagster.op(out=dagster.Out(dagster.Nothing))
def slow(context: dagster.OpExecutionContext) -> None:
    for number in range(600):
        context.log.info("Step %d", number)
        time.sleep(0.1)


@dagster.op(out=dagster.Out(dagster.Nothing))
def failing(context: dagster.OpExecutionContext) -> None:
    raise dagster.Failure("source.refused: HTTP 401.", allow_retries=False)


@dagster.op(out=dagster.Out(dagster.Nothing))
def stubborn(context: dagster.OpExecutionContext) -> None:
    try:
        time.sleep(60)
    except dagster.DagsterExecutionInterruptedError:
        time.sleep(60)


def _job(pipeline_id: UUID, op: dagster.OpDefinition) -> dagster.JobDefinition:
    graph = dagster.GraphDefinition(name=f"{op.name}_graph", node_defs=[op])
    return graph.to_job(name=job_name(pipeline_id), executor_def=dagster.in_process_executor)


@dagster.repository(name=REPOSITORY)
def pipelines() -> list[dagster.JobDefinition]:
    return [_job(QUICK, quick), _job(SLOW, slow), _job(FAILING, failing), _job(STUBBORN, stubborn)]
