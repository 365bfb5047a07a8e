"""A sample of the matrix that `make faults` plays: few cells, of each kind of fault one."""

from contextlib import closing
from pathlib import Path

import pytest
from fault_cells import FAULTS, cells, without_a_cell
from fault_scenarios import SCENARIOS, fresh, play_load
from fault_world import a_world
from postgres_server import PostgresServer
from servers import Servers

SAMPLE = {
    "kill": "ended",
    "full": "extracting",
    "lose": "committed",
}
"""Faults that take no longer than a run, each at a point of the worker."""


def test_every_point_has_cells_with_every_fault():
    assert without_a_cell() == set()
    played: dict[str, set[str]] = {}
    for cell in cells():
        played.setdefault(cell.point, set()).add(cell.fault)
    assert all(faults == set(FAULTS) for faults in played.values())


@pytest.mark.slow
def test_a_sample_of_faults_leaves_nothing_undone(postgres_server: PostgresServer, tmp_path: Path) -> None:
    servers = Servers(postgres=postgres_server, mariadb=None)

    with a_world("sqlite", servers, tmp_path) as world, closing(fresh(world)) as line:
        for fault, point in SAMPLE.items():
            play_load(line, point, fault, line.pipeline_id)
        SCENARIOS["answered"](world, "answered", "lose")

        assert list(world.check_all()) == []
