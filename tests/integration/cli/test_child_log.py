import os
import stat
from pathlib import Path

from headrace.cli.platform.child_log import ChildLog


def test_what_a_child_prints_is_kept_in_a_private_file(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "logs" / "child.log")

    os.write(log.writer, b"started\n")
    log.close()

    path = tmp_path / "logs" / "child.log"
    assert path.read_text() == "started\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_grows_is_turned_over_and_only_three_old_ones_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    log = ChildLog(path, largest=10)

    for line in (b"first...\n", b"second..\n", b"third...\n", b"fourth..\n", b"fifth...\n"):
        os.write(log.writer, line)
        log.pump()
    log.close()

    texts = {file.name: file.read_text().strip(".\n") for file in tmp_path.iterdir()}
    assert texts == {
        "child.log": "fifth",
        "child.log.1": "fourth",
        "child.log.2": "third",
        "child.log.3": "second",
    }


def test_an_earlier_start_is_added_to_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "child.log"
    path.write_text("yesterday\n")

    log = ChildLog(path)
    os.write(log.writer, b"today\n")
    log.close()

    assert path.read_text() == "yesterday\ntoday\n"


def test_the_last_lines_are_those_of_the_present_child(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "child.log")
    os.write(log.writer, b"the child before\n")
    log.pump()

    log.begin()
    os.write(log.writer, b"refused: no keyring\n")

    assert log.last_lines() == "refused: no keyring"
    log.close()
