"""Folders for what is temporary, each with an owner, so that what a killed owner leaves is found and removed.

A worker's folder is named `<run>.<fence>`: when the database says that this fence is dead, the folder goes.
It is made before anything temporary. Everything that Python's `tempfile`, SQLite and DuckDB put aside is in
it, and so are the child processes' files. An unfinished file that must lie elsewhere, because it is renamed
at the end, is noted in it by a link.

A server's folder is locked as long as its process lives. The next server to start removes the unlocked ones.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

_ELSEWHERE = "elsewhere-"
_VARIABLES = ("TMPDIR", "SQLITE_TMPDIR")
_ABANDONED_SECONDS = 3600.0
"""A file that is written and renamed within milliseconds is nobody's any more after this long."""

_held: list[Path] = []  # the folders of this process's runs: one, but in tests
_before: dict[str, str | None] = {}
_locks: list[int] = []  # descriptors that stay open until the process ends


def name_of(run_id: UUID, fence: int) -> str:
    """Return the name of the folder of a worker's claim."""
    return f"{run_id}.{fence}"


def claim_of(name: str) -> tuple[UUID, int] | None:
    """Return the run and the fence of a folder's name; None if it is not such a name."""
    run_id, _, fence = name.partition(".")
    try:
        return UUID(run_id), int(fence)
    except ValueError:
        return None


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """Have everything temporary of this process go to the folder, and remove it at the end of the block."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _held:
        _before.update({name: os.environ.get(name) for name in _VARIABLES}, tempdir=tempfile.tempdir)
    _held.append(folder)
    _use(folder)
    try:
        yield folder
    finally:
        _held.remove(folder)
        _use(_held[-1] if _held else None)
        if not _held:
            _before.clear()
        # What cannot be removed now, such as a file that a thread still writes, the sweeper removes.
        with suppress(OSError):
            remove(folder)


def current() -> Path | None:
    """Return the folder of the run that this process executes; None if it executes none."""
    return _held[-1] if _held else None


@contextmanager
def elsewhere(path: Path) -> Iterator[None]:
    """Note a file that lies outside of the folder and is unfinished until the end of the block."""
    folder = current()
    if folder is None:
        yield
        return
    link = folder / f"{_ELSEWHERE}{uuid4().hex}"
    link.symlink_to(path)
    yield
    link.unlink(missing_ok=True)  # not after an error: then the file may still be there


def remove(folder: Path) -> None:
    """Remove a worker's folder and the unfinished files elsewhere. Raises OSError.

    The folder goes last, so a kill at any line leaves it to be found again.
    """
    for link in folder.glob(f"{_ELSEWHERE}*"):
        with suppress(FileNotFoundError):
            link.readlink().unlink(missing_ok=True)
    _remove_tree(folder)


def take(parent: Path, name: str) -> Path:
    """Give this process a folder of its own below `parent`, where its temporary things go from now on.

    Remove the folders there whose processes have ended. Call this once, before anything temporary is made.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(parent):  # so that nobody removes the new folder before it is locked
        for folder in parent.glob("*-*/"):
            if _is_abandoned(folder):
                with suppress(OSError):
                    _remove_tree(folder)
        mine = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        descriptor = os.open(mine, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _locks.append(descriptor)
    tempfile.tempdir = str(mine)
    return mine


def sweep_abandoned(folder: Path, pattern: str) -> None:
    """Remove files that match and were written long ago, in a folder where such files live for moments."""
    for path in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()


def _use(folder: Path | None) -> None:
    tempfile.tempdir = str(folder) if folder else _before["tempdir"]
    for name in _VARIABLES:
        value = str(folder) if folder else _before[name]
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _remove_tree(folder: Path) -> None:
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process was faster with one file; remove what is left


def _is_abandoned(folder: Path) -> bool:
    try:
        with _locked(folder, wait=False):
            return True
    except OSError:
        return False


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
