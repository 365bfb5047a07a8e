from dataclasses import dataclass

import pytest
from fakes.dagster import FakeDagster

from headrace_api.control.reloader import Reloader
from headrace_api.dagster.graphql import DagsterUnavailable


@pytest.fixture
def dagster() -> FakeDagster:
    return FakeDagster()


@dataclass
class Catalogue:
    changes: int = 0

    def stamp(self) -> tuple[int]:
        return (self.changes,)

    def change(self) -> None:
        self.changes += 1


def test_a_process_reloads_once_at_its_start_because_another_may_have_died(dagster: FakeDagster) -> None:
    reloader = Reloader(Catalogue(), dagster)

    reloader.work()
    reloader.work()

    assert dagster.reloads == 1


def test_a_burst_of_changes_costs_one_reload(dagster: FakeDagster) -> None:
    catalogue = Catalogue()
    reloader = Reloader(catalogue, dagster)
    reloader.work()

    for _ in range(100):
        catalogue.change()
    reloader.work()
    reloader.work()

    assert dagster.reloads == 2


def test_a_change_during_a_reload_is_reloaded_again(dagster: FakeDagster) -> None:
    catalogue = Catalogue()
    reloader = Reloader(catalogue, dagster)
    dagster.on_reload = catalogue.change

    reloader.work()
    dagster.on_reload = lambda: None
    reloader.work()
    reloader.work()

    assert dagster.reloads == 2


def test_a_reload_that_failed_is_tried_again(dagster: FakeDagster) -> None:
    reloader = Reloader(Catalogue(), dagster)
    dagster.is_down = True
    with pytest.raises(DagsterUnavailable):
        reloader.work()
    dagster.is_down = False

    reloader.work()

    assert dagster.reloads == 1
