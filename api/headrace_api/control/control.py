"""All the control loops of one API process."""

import time
from functools import partial

from headrace.service import upkeep
from headrace.service.jobs import Jobs
from headrace.service.platform import Platform
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.control.loop import Loop
from headrace_api.control.purger import Purger
from headrace_api.control.reaper import Reaper
from headrace_api.control.reconciler import Reconciler
from headrace_api.control.reloader import Reloader
from headrace_api.control.run_remover import RunRemover
from headrace_api.control.strays import Strays
from headrace_api.control.sweeper import Sweeper
from headrace_api.control.terminator import Terminator
from headrace_api.control.watch import Watch
from headrace_api.dagster.client import DagsterClient

STOP_SECONDS = 4.5
DISPATCHERS = 4
"""A launch waits until the run's process has started. With several dispatchers, launches do not wait for
each other."""


class Control:
    """Starts, wakes and stops the loops."""

    def __init__(self, platform: Platform, dagster: DagsterClient) -> None:
        work, retention = upkeep.upkeep_store(platform), upkeep.retention_store(platform)
        outputs = platform.settings.outputs
        # Woken as soon as a client asks for something. The interval finds what other processes have written.
        self._prompt = (
            *(
                Loop(f"dispatcher-{number}", Dispatcher(work, dagster).work, interval=DISPATCHERS)
                for number in range(DISPATCHERS)
            ),
            Loop("slots", partial(upkeep.admit_waiting_slots, platform), interval=1.0),
            Loop("terminator", Terminator(work, dagster).work, interval=1.0),
            Loop("reloader", Reloader(Jobs(platform), dagster).work, interval=2.0),
            Loop("purger", Purger(work, dagster, outputs).work, interval=2.0),
        )
        self._periodic = (
            Loop("reconciler", Reconciler(work, dagster).work, interval=5.0),
            Loop("reaper", Reaper(work).work, interval=3.0),
            Loop("sweeper", Sweeper(work, platform.settings.scratch).work, interval=15.0),
            Loop("strays", Strays(work, dagster).work, interval=60.0),
            Loop("run-remover", RunRemover(retention, dagster, outputs).work, interval=60.0),
            Loop("pruner", partial(upkeep.prune, platform), interval=3600.0),
        )

        self._watch = Watch(self._prompt + self._periodic)

    def start(self) -> None:
        """Start all loops."""
        for loop in self._prompt + self._periodic:
            loop.start()
        self._watch.start()

    def wake(self) -> None:
        """Say that rows changed, so that the loops look now. Cheap; may be called from any thread."""
        for loop in self._prompt:
            loop.wake()

    def stop(self) -> None:
        """Stop all loops within 5 s. A loop that still waits for an answer by then dies with the process.

        Its lease or its row leads another loop to the unfinished work.
        """
        self._watch.stop()
        loops = self._prompt + self._periodic
        for loop in loops:
            loop.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for loop in loops:
            loop.join(max(0.0, deadline - time.monotonic()))
