"""Time until the platform is ready, and the memory of all its processes together at rest.

    python benchmarks/footprint.py [--starts 3] [--rest-seconds 15] [--json]

Each start has a fresh home folder, so that it includes making the database, the keys and Dagster's storage.
Memory is PSS (proc(5), smaps_rollup): what processes share is counted once. Linux only.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from headrace.cli.platform.resources import Usage, tree_usage

MOST_SECONDS = 15
MOST_BYTES = 700_000_000


def main() -> int:
    """Measure and print; return 1 where a limit is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=3, help="how many to take the median of")
    parser.add_argument("--rest-seconds", type=float, default=15, help="from ready to the look at memory")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    measured = [measure(arguments.rest_seconds) for _ in range(arguments.starts)]
    ready = statistics.median(seconds for seconds, _ in measured)
    memory = statistics.median(sum(usage.pss_bytes for usage in usages) for _, usages in measured)
    if arguments.json:
        print(json.dumps({"ready_seconds": round(ready, 2), "idle_pss_bytes": round(memory)}))
    else:
        report(ready, memory, measured)
    return 0 if ready <= MOST_SECONDS and memory <= MOST_BYTES else 1


def measure(rest_seconds: float) -> tuple[float, list[Usage]]:
    """Start the platform on a fresh home; return the seconds until it is ready, and its usage at rest."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        environment = {**os.environ, "HEADRACE_CONFIG_DIR": f"{folder}/config"}
        command = [sys.executable, "-m", "headrace.cli.main", "up", "--home", f"{folder}/home"]
        began = time.monotonic()
        with subprocess.Popen(
            [*command, "--port", "0", "--dagster-port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as platform:
            assert platform.stdout is not None
            if not any("is ready" in line for line in platform.stdout):
                raise SystemExit("The platform did not start; `headrace up` says why.")
            seconds = time.monotonic() - began
            time.sleep(rest_seconds)
            usages = tree_usage(platform.pid)
            platform.send_signal(signal.SIGTERM)
        return seconds, usages


def report(ready: float, memory: float, measured: list[tuple[float, list[Usage]]]) -> None:
    """Print the medians beside their limits, and the last start's processes."""
    each = ", ".join(f"{seconds:.1f}" for seconds, _ in measured)
    print(
        f"ready  {ready:6.1f} s   from `headrace up` on a fresh home (limit {MOST_SECONDS} s; each: {each})"
    )
    print(f"idle   {memory / 1e6:6.0f} MB  PSS of all processes (limit {MOST_BYTES / 1e6:.0f} MB)")
    for usage in measured[-1][1]:
        print(f"       {usage.pss_bytes / 1e6:6.0f} MB  {' '.join(usage.command.split()[1:5])}")


if __name__ == "__main__":
    sys.exit(main())
