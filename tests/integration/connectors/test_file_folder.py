"""Writers of one file at once, and what a killed one leaves."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.connectors.file.folder import LocalFolder

_KILLED = """
import os, sys
from pathlib import Path
from headrace.connectors.file.folder import LocalFolder

def pieces():
    yield b"half"
    os._exit(9)

LocalFolder(Path(sys.argv[1])).write(sys.argv[2], pieces(), sys.argv[3])
"""


def _killed_while_it_writes(folder: Path, name: str, writer: str) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(folder), name, writer], check=False, timeout=60)


def test_of_two_writers_of_one_file_each_publishes_all_of_its_own(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)

    def first() -> Iterator[bytes]:
        yield b"1" * 100_000
        folder.write("a.csv", [b"2" * 100_000, b"2" * 100_000], "second")
        assert (tmp_path / "a.csv").read_bytes() == b"2" * 200_000
        yield b"1" * 100_000

    folder.write("a.csv", first(), "first")

    assert (tmp_path / "a.csv").read_bytes() == b"1" * 200_000
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("a.csv", [b"old"], "one")

    def failing() -> Iterator[bytes]:
        yield b"new"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        folder.write("a.csv", failing(), "one")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.csv": b"old"}


def test_what_a_killed_writer_has_left_is_swept_by_its_name_and_nothing_of_another(tmp_path: Path) -> None:
    _killed_while_it_writes(tmp_path, "items/day=1/a.csv", "one")
    _killed_while_it_writes(tmp_path, "items/b.csv", "other")

    LocalFolder(tmp_path).sweep("items", "one", below=True)

    assert [path.name.split("-")[0] for path in tmp_path.rglob(".*.unfinished")] == [".other"]
