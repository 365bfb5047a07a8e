"""Fails the runs whose worker let its lease expire, whether Dagster noticed or not."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headrace.records import Run
from headrace_api.control.outputs import remove_partial_output

_log = logging.getLogger(__name__)


class Leases(Protocol):
    """The leases: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def reap(self) -> Sequence[Run]: ...


class Reaper:
    """Works without Dagster, even while that is down. `outputs` has a folder for each run."""

    def __init__(self, upkeep: Leases, outputs: Path) -> None:
        self._upkeep = upkeep
        self._outputs = outputs

    def work(self) -> bool:
        """Fail the expired runs. Always return False: one round finds all of them."""
        for run in self._upkeep.reap():
            _log.warning("Run %s failed: its worker stopped sending heartbeats.", run.id)
            # A kill before this line leaves the files; the run remover deletes them with the run.
            remove_partial_output(self._outputs, run.id)
        return False
