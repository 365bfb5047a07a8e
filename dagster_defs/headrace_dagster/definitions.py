"""The repository of the stored pipelines, which the code server and the run workers load."""

import logging
import os
import signal
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING
from uuid import UUID

from dagster import DagsterExecutionInterruptedError, RepositoryDefinition

from headrace.naming import REPOSITORY
from headrace.records import RunStatus
from headrace.service.jobs import Jobs
from headrace_dagster.execution import ExecutionOutcome, Stopped, extract_load_graph
from headrace_dagster.installation import platform, settings
from headrace_dagster.pipelines import define
from headrace_dagster.repository import LiveRepository

if TYPE_CHECKING:
    from headrace.engine.job import Progress


@cache
def _jobs() -> Jobs:
    return Jobs(platform())


def _execute(
    *,
    pipeline_id: UUID,
    run_id: UUID | None,
    dagster_run_id: str,
    log: logging.Logger,
    progress: Callable[["Progress"], None],
) -> ExecutionOutcome:
    # Imported here, because the code server loads this module too and does not need the engine.
    from headrace.engine.interrupts import Interrupted
    from headrace.service.execution import execute_run
    from headrace.service.lease import OUTAGE_SECONDS, RunStopped, until_written

    try:
        done = execute_run(
            until_written(platform, seconds=OUTAGE_SECONDS),
            pipeline_id=pipeline_id,
            run_id=run_id,
            dagster_run_id=dagster_run_id,
            log=log,
            progress=progress,
            end_process=partial(os.kill, os.getpid(), signal.SIGKILL),
        )
    except RunStopped as stopped:
        raise Stopped(stopped.detail) from None
    except Interrupted:
        raise DagsterExecutionInterruptedError from None
    return done.result


def status_of(dagster_run_id: str) -> RunStatus | None:
    """Return the status of the row that a Dagster run executes; None if it executes none now."""
    return _jobs().status_of(dagster_run_id)


define_pipeline = partial(
    define,
    graph=extract_load_graph(_execute, settings().preview_rows, status_of),
    take_slot=lambda pipeline_id, slot: _jobs().take_slot(pipeline_id, slot),
    api_address=settings().api_address,
)

live = LiveRepository(_jobs, define_pipeline)

repository = RepositoryDefinition(
    REPOSITORY, repository_data=live, description="The pipelines that are stored in Headrace."
)
