from pathlib import Path

import pytest

from headrace.cli import home_lock


def test_a_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with (
        home_lock.hold(tmp_path / "home"),
        pytest.raises(home_lock.AlreadyUp),
        home_lock.hold(tmp_path / "home"),
    ):
        pass


def test_a_home_that_was_let_go_of_may_be_held_again(tmp_path: Path) -> None:
    with home_lock.hold(tmp_path / "home"):
        pass

    with home_lock.hold(tmp_path / "home"):
        assert home_lock.is_held(tmp_path / "home")


def test_a_home_that_was_never_held_is_not(tmp_path: Path) -> None:
    assert not home_lock.is_held(tmp_path / "home")
