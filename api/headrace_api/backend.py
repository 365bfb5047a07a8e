"""What handlers work with: the platform, Dagster and the control loops."""

import threading
from dataclasses import dataclass
from typing import Protocol

from headrace.service.platform import Platform
from headrace_api.dagster.health import DagsterStatus
from headrace_api.dagster.log import LogPage
from headrace_api.followers import Followers
from headrace_api.metrics import Metrics


class Dagster(Protocol):
    """What handlers ask of Dagster: the Dagster client."""

    def health(self) -> DagsterStatus: ...

    def logs(self, dagster_run_id: str, cursor: str | None = None) -> LogPage: ...


class ControlLoops(Protocol):
    """What carries out the stored changes: `headrace_api.control.control.Control`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def wake(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The parts of one API process that handlers use."""

    platform: Platform
    dagster: Dagster
    control: ControlLoops
    metrics: Metrics
    followers: Followers
    closing: threading.Event  # set when the process has to stop: endless answers end then
