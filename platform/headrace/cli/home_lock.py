"""Who has a home folder: one `headrace up` at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headrace.errors import Conflict
from headrace.private_files import make_private_folder


class AlreadyUp(Conflict):
    """Another `headrace up` has this home."""

    code = "cli.already_up"
    title = "Already up"
    hint = "Stop the other `headrace up` first, or give this one a home of its own with --home."


@contextlib.contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold the home folder for the time of the block; the system lets go when the process dies.

    Raises AlreadyUp and NotPrivate.
    """
    make_private_folder(root)
    make_private_folder(_file(root).parent)
    with _file(root).open("a") as file:
        if not _lock(file, fcntl.LOCK_EX):
            raise AlreadyUp(f"Another `headrace up` runs on {root}.")
        yield


def is_held(root: Path) -> bool:
    """Whether the platform of a home folder is up."""
    try:
        with _file(root).open("r") as file:
            return not _lock(file, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _file(root: Path) -> Path:
    return root / "run" / "up.lock"


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
