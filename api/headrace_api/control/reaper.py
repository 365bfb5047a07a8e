"""Fails the runs whose worker let its lease run out, whether Dagster noticed or not."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from headrace.records import Run
from headrace_api.control.outputs import remove_partial_output

_log = logging.getLogger(__name__)


class Leases(Protocol):
    """Who knows the leases: `headrace.service.upkeep.Upkeep`."""

    def reap(self) -> Sequence[Run]: ...


class Reaper:
    """Needs no Dagster: it goes on while that is down. `outputs` has a folder for each run."""

    def __init__(self, upkeep: Leases, outputs: Path) -> None:
        self._upkeep = upkeep
        self._outputs = outputs

    def work(self) -> bool:
        """Reap; there is never more to do at once."""
        for run in self._upkeep.reap():
            _log.warning("Run %s failed: its worker stopped answering.", run.id)
            # A kill before this line leaves the files to the retainer.
            remove_partial_output(self._outputs, run.id)
        return False
