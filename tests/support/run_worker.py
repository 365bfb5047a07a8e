"""Runs executed by processes of their own, which a test can have killed at any point."""

import logging
import multiprocessing
import sys
from pathlib import Path
from uuid import UUID

from headrace.failpoints import Action, Point
from headrace.service.execution import RunFailed, execute_run
from headrace.service.platform import Platform
from headrace.settings import Settings

FAILED = 3
_SECONDS = 60
_SYSTEMS = ("duckdb", "mysql", "postgres", "sqlite")
_PRELOADED = [
    "__main__",
    "headrace.service.execution",
    *(
        f"headrace.connectors.{system}.{part}"
        for system in _SYSTEMS
        for part in ("connector", "load", "read")
    ),
    "headrace.connectors.file.load",
    "headrace.connectors.files.read",
    "headrace.connectors.rest.read",
    "headrace.engine.transforms.columns",
    "adbc_driver_postgresql.dbapi",
    "duckdb",
    "pymysql",
    "pyarrow.parquet",
]


def run_until(
    platform: Platform,
    pipeline_id: UUID,
    run_id: UUID,
    point: Point,
    action: Action,
    faults: Path,
    *,
    must: bool = True,
) -> int | None:
    """Execute a run in a process in which `action` happens at `point`; return its exit code.

    A run that `must` come to the point and does not fails the test.
    """
    faults.mkdir(exist_ok=True)
    fault = faults / f"{point}.{pipeline_id}"
    fault.write_text(action)
    settings = platform.settings.model_copy(update={"failpoints": faults})
    # Forked from a process that has imported it all once: each worker would take seconds for that.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)
    worker = processes.Process(target=_work, args=(settings, pipeline_id, run_id))
    worker.start()
    worker.join(_SECONDS)
    if worker.is_alive():
        worker.kill()
        worker.join()
    assert not (must and fault.exists()), f"The run never came to {point}."
    fault.unlink(missing_ok=True)
    return worker.exitcode


def _work(settings: Settings, pipeline_id: UUID, run_id: UUID) -> None:
    log = logging.getLogger("headrace.test.worker")
    try:
        platform = Platform.open(settings)
        execute_run(platform, pipeline_id=pipeline_id, run_id=run_id, dagster_run_id="worker", log=log)
    except RunFailed:
        sys.exit(FAILED)
