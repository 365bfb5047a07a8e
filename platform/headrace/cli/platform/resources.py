"""The memory of the platform's processes, as Linux counts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The memory of one process."""

    pid: int
    command: str
    pss_bytes: int  # its own memory and its share of shared memory, so sums are correct


def tree_usage(pid: int) -> list[Usage]:
    """Return the memory of a process and all its descendants, the process first.

    Empty without /proc/<pid>/smaps_rollup: on macOS, and on Linux before 4.14. See proc(5).
    """
    return [usage for member in _tree(pid) if (usage := _usage(member)) is not None]


def _tree(pid: int) -> Iterator[int]:
    yield pid
    # A process may end in the meantime; then it has no children.
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        for child in _read(task).split():
            yield from _tree(int(child))


def _usage(pid: int) -> Usage | None:
    rollup = _read(_PROC / str(pid) / "smaps_rollup").splitlines()
    lines = [line for line in rollup if line.startswith("Pss:")]
    if not lines:
        return None
    command = _read(_PROC / str(pid) / "cmdline").replace("\0", " ").strip()
    return Usage(pid=pid, command=command, pss_bytes=int(lines[0].split()[1]) * 1024)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
