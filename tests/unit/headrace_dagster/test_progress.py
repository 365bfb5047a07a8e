from itertools import pairwise

import pytest
from dagster import AssetObservation

from headrace.engine.job import Progress
from headrace.records import RunPhase
from headrace_dagster import progress
from headrace_dagster.progress import Observations


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_progress_is_reported_at_growing_intervals_of_up_to_five_minutes(clock: Clock) -> None:
    told: list[float] = []
    observations = Observations(lambda _: told.append(clock.seconds), ["a"])

    for second in range(10 * 3600):
        clock.seconds = float(second)
        observations.see(Progress(phase=RunPhase.EXTRACT, rows=second, bytes=0))

    assert told[:7] == [15, 30, 60, 120, 240, 480, 780]
    assert {after - before for before, after in pairwise(told[5:])} == {300}
    assert len(told) == 124


def test_an_unavailable_storage_does_not_end_a_run(clock: Clock) -> None:
    def tell(_: AssetObservation) -> None:
        raise OSError("no storage")

    observations = Observations(tell, ["a"])
    clock.seconds = 20.0

    observations.see(Progress(phase=RunPhase.LOAD, rows=1, bytes=0))
