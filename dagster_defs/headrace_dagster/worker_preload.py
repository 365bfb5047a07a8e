"""What every run worker needs, imported once by the fork server: the process that workers are forked from.

A worker of its own would need two seconds for these imports. Nothing here may open a connection or start a
thread, because the forks would share it.
"""

import gc
from importlib import import_module
from typing import get_args

from headrace.connectors import registry
from headrace_dagster.installation import settings
from headrace_dagster.private import preload
from headrace_dagster.storage import PlatformStorage

_NEEDED = (
    "headrace.connectors.kit.http.authentication",
    "headrace.engine.run",
    "headrace.service.execution",
    "headrace_dagster.definitions",
    "pyarrow.parquet",
    "upath.implementations.local",
)
_NEEDED_ON_POSTGRESQL = ("dagster_postgres", "psycopg", "sqlalchemy.dialects.postgresql.psycopg")

for _module in preload.MODULES + _NEEDED + (() if settings().is_embedded else _NEEDED_ON_POSTGRESQL):
    import_module(_module)

# The code server, which starts this process, has checked the tables.
PlatformStorage.is_made = True

# Looked up once here: finding the connectors of installed packages reads the metadata of all packages.
for _kind in get_args(registry.Kind):
    registry.is_installed(_kind, "")

# The collector would otherwise write into every page that the forks share.
gc.freeze()
