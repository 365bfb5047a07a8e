"""Fails the runs whose worker let its lease run out, whether Dagster noticed or not."""

import logging
from collections.abc import Sequence
from typing import Protocol

from headrace.records import Run

_log = logging.getLogger(__name__)


class Leases(Protocol):
    """Who knows the leases: `headrace.service.upkeep.Upkeep`."""

    def reap(self) -> Sequence[Run]: ...


class Reaper:
    """Needs the database only: it goes on while Dagster is down."""

    def __init__(self, upkeep: Leases) -> None:
        self._upkeep = upkeep

    def work(self) -> bool:
        """Reap; there is never more to do at once."""
        for run in self._upkeep.reap():
            _log.warning("Run %s failed: its worker stopped answering.", run.id)
        return False
