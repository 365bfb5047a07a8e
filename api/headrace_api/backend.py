"""What the handlers stand on."""

import threading
from dataclasses import dataclass
from typing import Protocol

from headrace.service.platform import Platform
from headrace_api.dagster.health import DagsterStatus
from headrace_api.dagster.log import LogPage
from headrace_api.metrics import Metrics


class Dagster(Protocol):
    """What the handlers ask of Dagster: the client does it."""

    def health(self) -> DagsterStatus: ...

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage: ...


class ControlLoops(Protocol):
    """What carries out the stored changes."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One process's platform, with its ways to Dagster."""

    platform: Platform
    dagster: Dagster
    control: ControlLoops
    metrics: Metrics
    closing: threading.Event  # set once the process is to stop: answers without an end must end
