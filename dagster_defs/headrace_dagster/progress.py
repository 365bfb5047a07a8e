"""What a run tells Dagster while it goes on."""

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
    """Tells of progress as observations of the pipeline's data, ever further apart.

    The first comes 15 s after the start, each further one after twice the time so far, up to five minutes: a
    short run writes none, one of ten hours some 120.
    """

    def __init__(self, tell: Callable[[AssetObservation], None], asset_key: Sequence[str]) -> None:
        self._tell = tell
        self._asset_key = asset_key
        self._started = time.monotonic()
        self._due = FIRST_SECONDS

    def see(self, progress: "Progress") -> None:
        """Take note of how far the run is; costs nothing mostly, and never ends the run."""
        seconds = time.monotonic() - self._started
        if seconds < self._due:
            return
        self._due = seconds + min(seconds, LONGEST_SECONDS)
        # Dagster's storage may be away for a moment; the run, whose row tells the same, need not mind.
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
