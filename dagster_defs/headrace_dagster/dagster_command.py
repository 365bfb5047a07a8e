"""Dagster's own commands, run inside a process of ours."""

import os
import sys
from importlib.metadata import distribution


def run(script: str, *arguments: str) -> None:
    """Run a console script of Dagster's package in this process; it ends by raising SystemExit."""
    # Kubernetes sets this variable for a service of that name, and Dagster would take it for an option.
    os.environ.pop("DAGSTER_GRPC_PORT", None)
    (entry_point,) = distribution("dagster").entry_points.select(group="console_scripts", name=script)
    main = entry_point.load()
    sys.argv = [script, *arguments]
    main()
