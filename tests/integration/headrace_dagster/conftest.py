"""Dagster's real processes, which the tests of this folder share."""

from collections.abc import Iterator

import pytest
from dagster_processes import DagsterSide, run_dagster
from process_state import as_in_a_worker


@pytest.fixture(scope="session")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterSide]:
    """Dagster's processes of a new installation."""
    with run_dagster(tmp_path_factory.mktemp("dagster") / "home") as running:
        yield running


@pytest.fixture
def worker() -> Iterator[None]:
    """This process, which becomes a worker for one test."""
    with as_in_a_worker():
        yield
