"""Faults on a run's way: an error, a kill or a cancel at a point; and what the platform repairs after it."""

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from history_steps import Break
from run_worker import FAILED, run_until
from sqlalchemy import update
from stored import LIMITS

from headrace import failpoints
from headrace.engine.job import Progress
from headrace.errors import Conflict
from headrace.records import Run
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.schema import runs

Progressed = Callable[[Progress], None]
Tries = Callable[[Run, Progressed], None]
"""Executes a run that may fail."""


def broken(platform: Platform, run: Run, fault: Break, folder: Path, tries: Tries) -> Run:
    """Execute the run with a fault on its way; return what has become of it."""
    folder.mkdir(exist_ok=True)
    if fault.action == "kill":
        code = run_until(platform, run.pipeline_id, run.id, fault.point, "kill", folder, must=False)
        if code not in (0, FAILED):
            _lose_leases(platform)
    elif fault.action == "cancel":
        tries(run, _canceller(platform, run, fault.moments))
    else:
        _raise_at(run, fault, folder, tries)
    return Runs(platform, platform.owner()).get(run.id)


def _canceller(platform: Platform, run: Run, moments: int) -> Progressed:
    """Return what cancels the run at one of the moments at which it reports its progress."""

    def cancel(progress: Progress) -> None:
        nonlocal moments
        if moments == 0:
            with suppress(Conflict):  # it has ended
                Runs(platform, platform.owner()).cancel(run.id)
        moments -= 1

    return cancel


def _raise_at(run: Run, fault: Break, folder: Path, tries: Tries) -> None:
    path = folder / f"{fault.point}.{run.pipeline_id}"
    path.write_text("raise")
    failpoints.use(folder)
    try:
        tries(run, lambda progress: None)
    finally:
        failpoints.use(None)
        path.unlink(missing_ok=True)


def _lose_leases(platform: Platform) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    with platform.database.write() as connection:
        held = runs.c.lease_until.is_not(None)
        connection.execute(update(runs).where(held).values(lease_until=past))
    UpkeepStore(platform.database, LIMITS).reap()
