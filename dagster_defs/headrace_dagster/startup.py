"""What Dagster's three processes do alike when they start."""

import ctypes
import gc
import logging
import os
import signal
import sys

from headrace.errors import StartupError
from headrace_dagster.home import prepare
from headrace_dagster.installation import settings

_M_ARENA_MAX = -8  # mallopt(3)


def begin() -> None:
    """Set this process up from `HEADRACE_HOME` alone: environment, log, folder. Raises StartupError."""
    os.umask(0o077)
    # A shell's background job starts with SIGINT ignored, and Dagster gives SIGTERM the same handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _bound_arenas()
    _log_ours()
    os.environ.update(prepare(settings()))
    # Imported here: a broken installation is told of before a second has gone into Dagster's import.
    from headrace_dagster.internals import make_storage
    from headrace_dagster.storage import PlatformStorage, make_schema

    make_schema(settings())
    make_storage(settings().dagster_home)
    PlatformStorage.is_made = True  # Dagster opens it anew at each launch, and would look each time


def _log_ours() -> None:
    # Not the root's: Dagster's loggers have a handler of their own in some of these processes.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("headrace", "headrace_dagster"):
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(settings().log_level)


def settle() -> None:
    """Take what start-up has built out of the garbage collector's rounds: it stays for good."""
    gc.collect()
    gc.freeze()


def refuse(error: StartupError) -> int:
    """Say why the process does not start; return its exit code."""
    sys.stderr.write(f"{error.code}: {error.detail}\n{error.hint}\n")
    return error.exit_code


def _bound_arenas() -> None:
    # glibc gives threads heaps of their own, up to eight a core, and these processes have dozens of threads.
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)
