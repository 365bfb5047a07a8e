"""All control loops of one API process."""

import time

from headrace.service.jobs import Jobs
from headrace.service.platform import Platform
from headrace.service.upkeep import Retention, Upkeep
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.control.loop import Loop
from headrace_api.control.purger import Purger
from headrace_api.control.reaper import Reaper
from headrace_api.control.reconciler import Reconciler
from headrace_api.control.reloader import Reloader
from headrace_api.control.retainer import Retainer
from headrace_api.control.terminator import Terminator
from headrace_api.dagster.client import DagsterClient

STOP_SECONDS = 4.5
DISPATCHERS = 4
"""A launch waits for the run's process to come up: that of one run need not wait for another's."""


class Control:
    """Starts, wakes and stops the loops."""

    def __init__(self, platform: Platform, dagster: DagsterClient) -> None:
        upkeep, retention = Upkeep(platform), Retention(platform)
        outputs = platform.settings.outputs
        # What a client asked for and waits for; the intervals are for what other processes wrote.
        self._prompt = (
            *(
                Loop(f"dispatcher-{number}", Dispatcher(upkeep, dagster).work, interval=DISPATCHERS)
                for number in range(DISPATCHERS)
            ),
            Loop("slots", upkeep.admit_waiting_slots, interval=1.0),
            Loop("terminator", Terminator(upkeep, dagster).work, interval=1.0),
            Loop("reloader", Reloader(Jobs(platform), dagster).work, interval=2.0),
            Loop("purger", Purger(upkeep, dagster, outputs).work, interval=2.0),
        )
        self._periodic = (
            Loop("reconciler", Reconciler(upkeep, dagster).work, interval=5.0),
            Loop("reaper", Reaper(upkeep, outputs).work, interval=3.0),
            Loop("retainer", Retainer(retention, dagster, outputs).work, interval=60.0),
            Loop("pruner", retention.prune, interval=3600.0),
        )

    def start(self) -> None:
        """Start all loops."""
        for loop in self._prompt + self._periodic:
            loop.start()

    def wake(self) -> None:
        """Say that rows changed: what follows from it begins now. Cheap, from any thread."""
        for loop in self._prompt:
            loop.wake()

    def stop(self) -> None:
        """Stop all loops within 5 s; one that hangs in a request by then is left to die with the process.

        What it was doing is found again by its lease or its row.
        """
        loops = self._prompt + self._periodic
        for loop in loops:
            loop.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for loop in loops:
            loop.join(max(0.0, deadline - time.monotonic()))
