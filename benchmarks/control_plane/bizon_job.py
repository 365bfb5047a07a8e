"""The engine that the contract's platform runs its jobs with: how long one takes from start to end.

Its job loop, service and scheduler are in no package; what can be had is the engine, bizon. The platform
starts a process of it for each run, so that this is the least that a run of it takes.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.control_plane.environments import python_of
from benchmarks.control_plane.figures import Report, timed

_PACKAGE = "bizon==0.6.4"
_CONFIG = """
name: bench
source:
  name: dummy
  stream: creatures
  authentication:
    type: api_key
    params:
      token: dummy_key
destination:
  name: logger
  config:
    dummy: bizon
engine:
  backend:
    type: sqlite
    config:
      database: bizon
      schema: bizon
      syncCursorInDBEvery: 100
"""


def bizon(asked: argparse.Namespace, report: Report) -> None:
    """Time whole processes of bizon's command line."""
    command = python_of("bizon", _PACKAGE).with_name("bizon")
    samples = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        config = Path(folder) / "config.yml"
        config.write_text(_CONFIG)
        for _ in range(min(asked.runs, 5)):
            began = time.monotonic()
            subprocess.run([command, "run", config], cwd=folder, check=True, capture_output=True)
            samples.append(time.monotonic() - began)
    report.add("bizon, its command line: one run", [timed("process start to end", samples)])
