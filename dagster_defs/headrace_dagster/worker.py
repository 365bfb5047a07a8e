"""What a run's worker needs, imported once by the process that workers are forked from.

A worker of its own would take two seconds for these imports. Nothing here may open a connection or start a
thread: the forks would share it.
"""

import gc
from importlib import import_module

_NEEDED = (
    "dagster._core.executor.in_process",
    "dagster._core.execution.plan.active",
    "dagster._core.instance.runs.run_domain",
    "dagster._core.launcher",
    "dagster._core.run_coordinator",
    "dagster._core.scheduler",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._grpc.impl",
    "headrace.connectors.authentication",
    "headrace.engine.run",
    "headrace.service.execution",
    "headrace_dagster.definitions",
    "pyarrow.parquet",
)

for _module in _NEEDED:
    import_module(_module)

# The collector would otherwise write into every page that the forks share.
gc.freeze()
