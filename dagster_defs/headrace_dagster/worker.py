"""What a run's worker needs, imported once by the process that workers are forked from.

A worker of its own would take two seconds for these imports. Nothing here may open a connection or start a
thread: the forks would share it.
"""

import gc
from importlib import import_module
from typing import get_args

from headrace.connectors import registry
from headrace_dagster.installation import settings
from headrace_dagster.storage import PlatformStorage

_NEEDED = (
    "dagster._core.executor.in_process",
    "dagster._core.execution.plan.active",
    "dagster._core.instance.factory",
    "dagster._core.instance.runs.run_domain",
    "dagster._core.launcher",
    "dagster._core.run_coordinator",
    "dagster._core.scheduler",
    "dagster._core.secrets.env_file",
    "dagster._core.storage.defs_state.blob_storage_state_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._daemon",
    "dagster._grpc.impl",
    "headrace.connectors.kit.http.authentication",
    "headrace.engine.run",
    "headrace.service.execution",
    "headrace_dagster.definitions",
    "pyarrow.parquet",
    "upath.implementations.local",
)

_NEEDED_ON_POSTGRESQL = ("dagster_postgres", "psycopg", "sqlalchemy.dialects.postgresql.psycopg")

for _module in _NEEDED if settings().is_embedded else _NEEDED + _NEEDED_ON_POSTGRESQL:
    import_module(_module)

# The code server, which starts this process, has looked.
PlatformStorage.is_made = True

# Looked up once: to find what packages bring means to read what all of them say of themselves.
for _kind in get_args(registry.Kind):
    registry.is_installed(_kind, "")

# The collector would otherwise write into every page that the forks share.
gc.freeze()
