"""One process's wall seconds, CPU seconds and peak memory, its children's included.

The kernel counts them (wait4). A child's peak begins at its parent's memory when it was started, so this
process stays small: it imports no Arrow.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run took, and what it said of itself in the last line that it printed."""

    wall: float
    cpu: float  # user and system seconds of the process and of those it waited for
    server_cpu: float  # of the PostgreSQL server
    megabytes: int  # the largest resident size of one of the processes
    said: Mapping[str, Any]


class DidNotRun(Exception):
    """The process failed; the text says why in one line."""


def measure(command: Sequence[str], *, folder: Path, server: int, environment: Mapping[str, str]) -> Measured:
    """Run a command in a folder. `server` is the process id of PostgreSQL's first process."""
    with tempfile.TemporaryFile() as out:
        before, began = _server_seconds(server), time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        server_cpu = _server_seconds(server) - before
        out.seek(0)
        text = out.read().decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if process.returncode != 0:
        raise DidNotRun(_reason(lines) or f"exit status {process.returncode}")
    return Measured(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        server_cpu=server_cpu,
        megabytes=usage.ru_maxrss // 1024,
        said=json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {},
    )


def _reason(lines: Sequence[str]) -> str:
    """The line of a failed process's output that tells most: the last one that names an error."""
    named = [line for line in lines if any(word in line.lower() for word in ("error", "fail", "unable"))]
    return (named or list(lines) or [""])[-1].strip()[:160]


def _server_seconds(server: int) -> float:
    """CPU seconds of a server and of its processes, those that have ended included (proc(5), stat)."""
    tree = [server, *_children(server)]
    return sum(_seconds(process, with_ended=process == server) for process in tree)


def _children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in listed.split()]


def _seconds(process: int, *, with_ended: bool) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return 0.0
    counted = fields[11:15] if with_ended else fields[11:13]
    return sum(map(int, counted)) / os.sysconf("SC_CLK_TCK")
