"""Fails the runs whose worker let its lease expire, whether Dagster noticed or not."""

import logging
from collections.abc import Sequence
from typing import Protocol

from headrace.failpoints import reach
from headrace.records import Run
from headrace_api.control.loop import for_each

_log = logging.getLogger(__name__)


class Leases(Protocol):
    """The leases: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def reap(self) -> Sequence[Run]: ...


class Reaper:
    """Works without Dagster, even while that is down."""

    def __init__(self, upkeep: Leases) -> None:
        self._upkeep = upkeep

    def work(self) -> bool:
        """Fail the expired runs. Always return False: one round finds all of them."""
        for_each(self._upkeep.reap(), _tell)
        return False


def _tell(run: Run) -> None:
    _log.warning("Run %s failed: its worker stopped sending heartbeats.", run.id)
    reach("reaped", run.pipeline_id)
