"""The processes that make up Dagster's side of an installation, as a supervisor starts them."""

import sys
from dataclasses import dataclass

from headrace.settings import Settings
from headrace_dagster.home import prepare


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process to start and to keep running."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]  # to add to the supervisor's own


def commands(settings: Settings) -> list[Process]:
    """Return the processes; they may all be started at once, in any order.

    Each also works with nothing but `HEADRACE_HOME` set, as it prepares its environment itself.
    """
    env = prepare(settings)
    return [
        Process(name=name, argv=(sys.executable, "-m", f"headrace_dagster.{module}"), env=env)
        for name, module in (
            ("dagster-code", "code_server"),
            ("dagster-webserver", "webserver"),
            ("dagster-daemon", "daemon"),
        )
    ]
