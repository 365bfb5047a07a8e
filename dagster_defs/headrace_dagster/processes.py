"""Dagster's processes of an installation, for a supervisor to start."""

import sys
from dataclasses import dataclass

from headrace.settings import Settings
from headrace_dagster.home import prepare


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process to start and keep running."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]  # added to the supervisor's own


def commands(settings: Settings) -> list[Process]:
    """Return the processes. They may be started at once and in any order.

    Each also starts with only `HEADRACE_HOME` set, because it prepares its environment itself.
    """
    env = prepare(settings)
    return [
        Process(name=name, argv=(sys.executable, "-P", "-m", f"headrace_dagster.{module}"), env=env)
        for name, module in (
            ("dagster-code", "code_server"),
            ("dagster-webserver", "webserver"),
            ("dagster-daemon", "daemon"),
        )
    ]
