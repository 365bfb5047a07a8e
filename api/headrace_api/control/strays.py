"""Removes Dagster's runs that belong to no row, such as one whose launch raced the deletion of its pipeline.

Each Dagster run is looked at once, two minutes after it was made: by then its row would be there.
"""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from headrace.store.lifecycle.upkeep import Launch
from headrace_api.dagster.runs import DagsterRun, TaggedRun

_log = logging.getLogger(__name__)

SETTLED_SECONDS = 120.0
FIRST_SECONDS = 86_400.0
"""How far back the first round looks: a service that died may have left a stray."""
_OVERLAP_SECONDS = 60.0


class Rows(Protocol):
    """The rows: `headrace.store.lifecycle.upkeep.UpkeepStore`."""

    def without_row(self, known: Collection[Launch]) -> set[str]: ...


class DagsterRuns(Protocol):
    """Dagster's runs: the Dagster client."""

    def created(self, after: float, before: float) -> Iterator[Sequence[TaggedRun]]: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]: ...

    def terminate(self, run: DagsterRun) -> None: ...

    def delete_run(self, dagster_run_id: str) -> None: ...


class Strays:
    """Looks in each round at the runs made since the last one."""

    def __init__(self, upkeep: Rows, dagster: DagsterRuns) -> None:
        self._upkeep = upkeep
        self._dagster = dagster
        self._seen = time.time() - FIRST_SECONDS
        self._found: set[str] = set()

    def work(self) -> bool:
        """Stop strays, and delete those that have ended. Always return False."""
        until = time.time() - SETTLED_SECONDS
        # The clock may have been set back since the last round.
        for page in self._dagster.created(min(self._seen, until) - _OVERLAP_SECONDS, until):
            self._found |= self._upkeep.without_row([launch for run in page if (launch := run.launch)])
        self._seen = until
        for run in self._dagster.runs(sorted(self._found)) if self._found else ():
            self._end(run)
        return False

    def _end(self, run: DagsterRun) -> None:
        if not run.status.is_terminal:
            self._dagster.terminate(run)
            return
        self._dagster.delete_run(run.id)
        self._found.discard(run.id)
        _log.warning("Dagster's run %s belonged to no run and was deleted.", run.id)
