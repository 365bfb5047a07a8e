"""The lock of a home folder, held by one `headrace up` at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headrace.errors import Conflict
from headrace.private_files import make_private_folder


class AlreadyUp(Conflict):
    """Another `headrace up` uses this home folder."""

    code = "cli.already_up"
    title = "Already running"
    hint = "Stop the other `headrace up`, or choose another home folder with --home."


@contextlib.contextmanager
def hold(root: Path) -> Iterator[None]:
    """Hold the lock during the block. The system releases it if the process dies.

    Raises AlreadyUp and NotPrivate.
    """
    make_private_folder(root)
    make_private_folder(_file(root).parent)
    with _file(root).open("a") as file:
        if not _lock(file, fcntl.LOCK_EX):
            raise AlreadyUp(f"Another `headrace up` uses {root}.")
        yield


def is_held(root: Path) -> bool:
    """Return True if the platform of a home folder is running."""
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
