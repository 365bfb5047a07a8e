"""The state that all tests of a process share: a test must leave it as it found it."""

import contextvars
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import getcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from headrace import failpoints
from headrace.connectors import local
from headrace.connectors.kit import local_paths

State = dict[str, Any]

_OURS = ("headrace", "headrace_api", "headrace_dagster")
# Modules of Dagster in which Headrace replaces something.
_REPLACED = (
    "dagster._core.execution.api",
    "dagster._core.execution.plan.objects",
    "dagster._core.remote_representation.code_location",
    "dagster._api.snapshot_repository",
    "dagster._grpc.server",
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1)
_ABSENT = "absent"
# What a test may leave, and why.
_ALLOWED = {
    "variable PYTEST_CURRENT_TEST": "pytest sets it in each phase of a test",
    "context decimal_context": "Python makes one when a thread first calculates",
    "sys.excepthook": "the command line's library sets its own when a command runs in this process",
    "logger dlt": "dlt sets it up when it first runs in a process",
    "global headrace.connectors.dlt.load.RowsRowsConfiguration": "dlt makes one for each load's resource",
    "global headrace.connectors.kit.local_paths._base": "forget_installation resets it",
    "global headrace.connectors.local._folder": "forget_installation resets it",
    "global headrace.failpoints._folder": "forget_installation resets it",
}


def forget_installation() -> None:
    """Forget what an open platform sets for its process: where its paths, connectors and faults are."""
    local_paths.start_relative_paths_at(None)
    local.use(Path("connectors"))
    failpoints.use(None)


@contextmanager
def as_in_a_worker() -> Iterator[None]:
    """Put back at the end what a worker changes in its process: signals, parts of Dagster and its logger."""
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    replaced = {name: dict(vars(importlib.import_module(name))) for name in _REPLACED}
    level = logging.getLogger("dagster").level
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name, parts in replaced.items():
            vars(sys.modules[name]).update(parts)
        logging.getLogger("dagster").setLevel(level)


def surroundings() -> State:
    """Return what is quick to compare, so that each test is checked: by name."""
    return {
        "the current folder": Path.cwd(),
        "the temporary folder": tempfile.tempdir,
        "the umask": _umask(),
        "the time zone": time.tzname,
        "sys.path": tuple(sys.path),
        "sys.argv": tuple(sys.argv),
        "sys.excepthook": sys.excepthook,
        "the garbage collector": (gc.isenabled(), gc.get_threshold()),
        "the timeout of sockets": socket.getdefaulttimeout(),
        "the precision of decimals": getcontext().prec,
        "the level that no logger passes": logging.root.manager.disable,
        "logger root": _settings_of(logging.root),
        **{f"variable {name}": value for name, value in os.environ.items()},
        **{f"signal {number.name}": signal.getsignal(number) for number in _SIGNALS},
        **{f"context {variable.name}": value for variable, value in contextvars.copy_context().items()},
    }


def interior() -> State:
    """Return what takes longer to compare, so that each file of tests is checked: by name."""
    modules = {name: module for name, module in sys.modules.items() if _is_watched(name)}
    known = logging.root.manager.loggerDict.values()
    loggers = [logger for logger in known if isinstance(logger, logging.Logger)]
    return {
        **{f"logger {logger.name}": _settings_of(logger) for logger in loggers},
        **{name: value for module in modules.values() for name, value in _globals_of(module)},
    }


def changes(before: State, after: State) -> list[str]:
    """Return what differs. What was imported or first used meanwhile is no change, but for variables."""
    known = {name: (value, after.get(name, _ABSENT)) for name, value in before.items()}
    new = {name: (_ABSENT, value) for name, value in after.items() if name not in before}
    changed = known | {name: pair for name, pair in new.items() if name.startswith(("variable ", "context "))}
    return [
        f"{name}: {old!r:.80} became {now!r:.80}"
        for name, (old, now) in changed.items()
        if name not in _ALLOWED and old is not now and old != now
    ]


def _is_watched(module: str) -> bool:
    return module.partition(".")[0] in _OURS or module in _REPLACED


def _umask() -> int:
    mask = os.umask(0o077)  # there is no other way to ask for it
    os.umask(mask)
    return mask


def _settings_of(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = [handler for handler in logger.handlers if not type(handler).__module__.startswith("_pytest")]
    return logger.level, logger.disabled, logger.propagate, handlers, logger.filters[:]


def _globals_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name.startswith("__") or isinstance(value, ModuleType):
            continue
        if hasattr(value, "cache_info") and value.__module__.startswith("headrace_dagster"):
            # Such a cache holds an installation, which the next test would take for its own.
            yield f"cache {module.__name__}.{name}", value.cache_info().currsize
        yield f"global {module.__name__}.{name}", value.copy() if type(value) in (dict, list, set) else value
