"""Processor time: that of a platform's processes, and that of everything else on the machine. See proc(5)."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from headrace.cli.platform.resources import tree_usage

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(processes: Iterable[int]) -> float:
    """Return the time that processes have had, with that of their children that have ended."""
    return sum(sum(int(field) for field in _stat(process)[11:15]) for process in processes) / _TICKS


def tree_seconds(process: int) -> float:
    """Return the time of a process, its descendants, and those of them that have ended."""
    return processor_seconds(one.pid for one in tree_usage(process))


class Neighbours:
    """How busy all the others kept the machine since this was made, `process` and its family aside."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._began = time.monotonic()
        self._busy, self._ours = _busy_seconds(), tree_seconds(process)

    def cores(self) -> float:
        """Return how many cores they took, on average; this process, the client, is one of them."""
        seconds = time.monotonic() - self._began
        others = (_busy_seconds() - self._busy) - (tree_seconds(self._process) - self._ours)
        return max(0.0, others / seconds)


def _busy_seconds() -> float:
    user, nice, system, _idle, _wait, irq, soft_irq = _machine()[:7]
    return (user + nice + system + irq + soft_irq) / _TICKS


def _machine() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def _stat(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["0"] * 15  # it has ended, and its parent has its time
