"""What a run reports to Dagster while it is in progress."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagster import AssetObservation

from headrace.records import RunPhase

if TYPE_CHECKING:
    from headrace.engine.job import Progress

FIRST_SECONDS = 15.0
LONGEST_SECONDS = 300.0


class Observations:
    """Reports progress as observations of the pipeline's data, at growing intervals.

    The first is due 15 s after the start. The next is due when the time since the start has doubled, or after
    five minutes. So a short run writes none, and a run of ten hours about 120.
    """

    def __init__(self, tell: Callable[[AssetObservation], None], asset_key: Sequence[str]) -> None:
        self._tell = tell
        self._asset_key = asset_key
        self._started = time.monotonic()
        self._due = FIRST_SECONDS

    def see(self, progress: "Progress") -> None:
        """Report the progress if an observation is due. Never raises."""
        seconds = time.monotonic() - self._started
        if seconds < self._due:
            return
        self._due = seconds + min(seconds, LONGEST_SECONDS)
        # Dagster's storage may be unavailable for a moment. The run continues: its row has the same figures.
        with suppress(Exception):
            self._tell(self._observation(progress, seconds))

    def _observation(self, progress: "Progress", seconds: float) -> AssetObservation:
        done = "read" if progress.phase is RunPhase.EXTRACT else "loaded"
        facts: dict[str, Any] = {
            "phase": progress.phase.value,
            f"rows {done} so far": progress.rows,
            "bytes so far": progress.bytes,
        }
        return AssetObservation(
            asset_key=self._asset_key,
            description=f"{progress.rows:,} rows {done} so far, after {seconds:,.0f} s",
            metadata=facts,
        )
