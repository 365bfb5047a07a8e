"""What Dagster's three processes have in common when they start."""

import gc
import logging
import os
import signal
import sys

from headrace import arenas
from headrace.errors import StartupError
from headrace_dagster.home import prepare
from headrace_dagster.installation import settings


def begin() -> None:
    """Set up environment, log and folder of this process from `HEADRACE_HOME` alone. Raises StartupError."""
    os.umask(0o077)
    # A shell starts a background job with SIGINT ignored, and Dagster gives SIGTERM the same handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arenas.bound()
    _configure_log()
    os.environ.update(prepare(settings()))
    # Imported here: a broken installation is reported before Dagster's import takes a second.
    from headrace_dagster.storage import prepare_storage

    prepare_storage(settings())


def _configure_log() -> None:
    # Not the root logger: Dagster's loggers have their own handler in some of these processes.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("headrace", "headrace_dagster"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(settings().log_level)


def freeze_garbage() -> None:
    """Exclude the objects that exist after start-up from garbage collection: they stay for good."""
    gc.collect()
    gc.freeze()


def refuse(error: StartupError) -> int:
    """Print why the process does not start; return its exit code."""
    sys.stderr.write(f"{error.code}: {error.detail}\n{error.hint}\n")
    return error.exit_code
