"""The others, measured by the same steps; each in an environment of its own, made when first asked for."""

import argparse
from collections.abc import Callable

from benchmarks.control_plane.bizon_job import bizon
from benchmarks.control_plane.figures import Report
from benchmarks.control_plane.prefect_server import prefect
from benchmarks.control_plane.stock_dagster import stock

PEERS: dict[str, Callable[[argparse.Namespace, Report], None]] = {
    "stock": stock,
    "prefect": prefect,
    "bizon": bizon,
}
