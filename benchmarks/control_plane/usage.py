"""What the platform takes of the machine while nothing happens. Linux only: see proc(5)."""

import time

from benchmarks.control_plane.figures import Figure, single
from benchmarks.control_plane.platform import BenchPlatform
from benchmarks.control_plane.processor import processor_seconds

from headrace.cli.platform.resources import tree_usage

_AT_REST = ("headrace_dagster.code_server", "headrace_dagster.daemon")


def usage(platform: BenchPlatform, seconds: float) -> list[Figure]:
    """Measure each process's memory, and the processor time of the daemon and the code server together."""
    processes = tree_usage(platform.process.pid)
    watched = [one.pid for one in processes if any(name in one.command for name in _AT_REST)]
    # What the code server forks its workers from is its child, and says so in no way of its own.
    watched += [one.pid for one in processes if "multiprocessing.forkserver" in one.command]
    before = processor_seconds(watched)
    time.sleep(seconds)
    share = 100 * (processor_seconds(watched) - before) / seconds
    memory = [
        single(f"memory of {_name(one.command)}", one.pss_bytes / 1e6, "MB", "PSS") for one in processes
    ]
    total = single("memory of all", sum(one.pss_bytes for one in processes) / 1e6, "MB", "PSS")
    rest = single("daemon and code server at rest", share, "% of core", f"over {seconds:.0f} s")
    return [rest, *memory, total]


def _name(command: str) -> str:
    words = command.split()
    if "multiprocessing.forkserver" in command:
        return "the workers' template"
    if "-m" in words:
        return words[words.index("-m") + 1]
    return " ".join(words[1:4])
