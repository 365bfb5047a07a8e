"""A real Dagster for the tests of this folder, started when the first test needs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_server import run_dagster

from headrace_api.dagster.client import DagsterClient


@pytest.fixture(scope="session")
def dagster_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a webserver that serves small_jobs.py."""
    home = tmp_path_factory.mktemp("dagster")
    with run_dagster(home, Path(__file__).with_name("small_jobs.py")) as address:
        yield address


@pytest.fixture
def dagster(dagster_address: str) -> Iterator[DagsterClient]:
    """A client of that webserver."""
    client = DagsterClient(dagster_address)
    yield client
    client.close()
