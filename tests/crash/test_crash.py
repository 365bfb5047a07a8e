"""A sample of the random histories that `make crash` plays, and those that once went wrong."""

from pathlib import Path

import pytest
from crash import play, play_alone
from effort import times
from later import settle
from steps import RECORDS, History, history_of
from world import a_world

pytestmark = pytest.mark.slow

_STORED = Path(__file__).parent / "stored"
_HISTORIES = times("CRASHES", 0, 10)


def test_a_history_follows_from_its_seed_and_is_read_back_as_it_was_stored(tmp_path: Path) -> None:
    history = history_of(7, "postgres")
    (tmp_path / "7.json").write_text(history.as_json())

    assert history_of(7, "postgres") == history
    assert History.read(tmp_path / "7.json") == history


def test_a_short_history_of_kills_loses_nothing() -> None:
    with a_world("sqlite") as world:
        outcome = play(History.read(_STORED / "sample.json"), world, 0)

    assert not outcome.problems, "\n".join([*outcome.problems, *outcome.events])


@pytest.mark.skipif(not _HISTORIES, reason="takes long: HEADRACE_TEST_CRASHES says how many to play")
@pytest.mark.parametrize("records", RECORDS)
def test_histories_of_random_faults_leave_every_run_ended_and_every_destination_whole(records: str) -> None:
    with a_world(records) as world:
        outcomes = [play(history_of(seed, records), world, seed) for seed in range(_HISTORIES)]
        late = settle(world.later, wait=True)

    wrong = [
        f"make crash CRASH='--seed {one.history.seed} --records {records}': {problem}"
        for one in outcomes
        for problem in one.problems
    ]
    assert not wrong + late, "\n".join(wrong + late)


@pytest.mark.skipif(not _HISTORIES, reason="takes long: HEADRACE_TEST_CRASHES says how many to play")
@pytest.mark.parametrize("path", sorted(_STORED.glob("*.json")), ids=lambda path: path.stem)
def test_a_history_that_once_went_wrong_goes_right(path: Path) -> None:
    outcome = play_alone(History.read(path))

    assert not outcome.problems, "\n".join([*outcome.problems, *outcome.events])
