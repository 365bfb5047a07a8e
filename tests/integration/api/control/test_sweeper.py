from pathlib import Path
from uuid import UUID, uuid4

import pytest

from headrace import scratch
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace_api.control.sweeper import Sweeper


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def folder_of(place: Path, run_id: UUID, fence: int) -> Path:
    folder = place / scratch.name_of(run_id, fence)
    (folder / "parts").mkdir(parents=True)
    return folder


def test_what_dead_claims_left_is_removed_and_what_a_living_one_has_stays(
    upkeep: UpkeepStore, store: RunStore, leases: LeaseStore, pipeline_id: UUID, place: Path
) -> None:
    run = leases.claim(store.create(pipeline_id).id, "dagster").run
    living, earlier = folder_of(place, run.id, run.fence), folder_of(place, run.id, run.fence - 1)
    unknown, foreign = folder_of(place, uuid4(), 1), place / "lost+found"
    foreign.mkdir()
    sweeper = Sweeper(upkeep, place)

    sweeper.work()
    while_it_ran = set(place.iterdir())
    store.cancel(run.id)
    sweeper.work()

    assert while_it_ran == {living, foreign}
    assert {earlier, unknown} & while_it_ran == set()
    assert set(place.iterdir()) == {foreign}


def test_files_that_cannot_be_removed_do_not_hold_up_the_others(
    upkeep: UpkeepStore, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = folder_of(place, uuid4(), 1), folder_of(place, uuid4(), 1)
    remove = scratch.remove

    def refuse(folder: Path) -> None:
        if folder == stuck:
            raise PermissionError(1, "Not permitted")
        remove(folder)

    monkeypatch.setattr(scratch, "remove", refuse)

    Sweeper(upkeep, place).work()

    assert not other.exists()
    assert "Not permitted" in caplog.text


def test_without_a_folder_there_is_nothing_to_do(upkeep: UpkeepStore, place: Path) -> None:
    assert Sweeper(upkeep, place / "none").work() is False
