"""Processes as /proc shows them."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_MODULES = {
    "headrace_api": "api",
    "headrace_dagster.daemon": "daemon",
    "headrace_dagster.webserver": "webserver",
    "headrace_dagster.code_server": "code",
}


def state_of(pid: int) -> str:
    """Return the letter of a process's state, as in proc(5). Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def parent_of(pid: int) -> int:
    """Return a process's parent; 0: it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def part_of(pid: int, own: dict[int, list[str]]) -> str:
    command = own[pid]
    if command[-1] in _MODULES:
        return _MODULES[command[-1]]
    if "up" in command[:5]:
        return "up"
    text = " ".join(command)
    if "resource_tracker" in text:
        return "tracker"
    if "forkserver" in text:
        parent = own.get(parent_of(pid))
        return "worker" if parent is not None and "forkserver" in " ".join(parent) else "fork"
    return "other"


def send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def family(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *children]
