import os
import signal
import time
from typing import Any

from headrace_dagster.private.stop_signal import StopSignal, Workers

SECONDS = 20.0


def started_worker() -> tuple[Any, StopSignal]:
    workers = Workers()
    stop = workers.Event()
    process: Any = workers.Process(target=stop.wait)
    process.start()
    time.sleep(1.5)  # until it waits for the signal
    return process, stop


def test_a_worker_learns_of_the_signal() -> None:
    process, stop = started_worker()
    before = stop.is_set()

    stop.set()

    process.join(SECONDS)
    assert (before, stop.is_set(), process.exitcode) == (False, True, 0)


def test_a_signal_to_a_worker_that_was_killed_does_not_wait_for_it() -> None:
    process, stop = started_worker()
    os.kill(process.pid, signal.SIGKILL)
    process.join(SECONDS)

    began = time.monotonic()
    stop.set()

    assert time.monotonic() - began < 1
    assert stop.is_set()
