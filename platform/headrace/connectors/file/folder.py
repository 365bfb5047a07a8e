"""Where the `file` destination writes: a folder of this machine, or one of an object store."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.connectors import ConnectorError, Rejected
from headrace.connectors.kit.local_paths import local_path
from headrace.connectors.kit.stores.config import AnyStorage, store_url

if TYPE_CHECKING:
    from headrace.connectors.kit.stores.object_store import ObjectStore

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNFINISHED = ".unfinished"
_MOMENT = 2  # seconds in which a new file may not be locked yet


class Folder(ABC):
    """Files by their names below the folder, with `/` between parts."""

    @abstractmethod
    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Publish a file: readers see all of it or what was there, which an error of `pieces` leaves."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's content; None where there is no such file."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[str]:
        """Yield the names of the files below a folder."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are none to worry about."""

    def clear(self, folder: str, start: str) -> None:  # noqa: B027 - what a store has not put together, nobody sees
        """Remove what killed writes have left below a folder of files whose names begin with `start`."""

    @abstractmethod
    def location(self, name: str) -> str:
        """Say where a file or folder is, for people."""

    @abstractmethod
    def check(self) -> None:
        """Raise ConnectorError where nothing can be written, as far as that can be told without writing."""


class LocalFolder(Folder):
    """A folder of the worker's machine; made when it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write beside the final name, then rename over what was there."""
        target = self._path / name
        with _disk(self._path):
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_dead(target.parent, target.name)
            # No other writer of this file, an earlier attempt of this one included, may have the same name.
            unfinished = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_UNFINISHED}")
            try:
                with unfinished.open("xb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    file.writelines(pieces)
                    file.flush()
                    os.fsync(file.fileno())
                    unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync(target.parent)

    def read(self, name: str) -> bytes | None:
        """Return the file's bytes."""
        try:
            with _disk(self._path):
                return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> Iterator[str]:
        """Yield the files, those that were not finished left out."""
        for path in sorted((self._path / folder).rglob("*")):
            if path.is_file() and not path.name.endswith(_UNFINISHED):
                yield path.relative_to(self._path).as_posix()

    def delete(self, names: Iterable[str]) -> None:
        """Remove files, and folders that are empty then."""
        for name in names:
            path = self._path / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._path or not _removed(folder):
                    break

    def clear(self, folder: str, start: str) -> None:
        """Remove unfinished files that no process writes any more."""
        for path in [self._path / folder, *(self._path / folder).rglob("*/")]:
            _remove_dead(path, start)

    def location(self, name: str) -> str:
        """Return the path."""
        return str(self._path / name)

    def check(self) -> None:
        """Make the folder. Raises Rejected."""
        with _disk(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise Rejected(f"The folder {self._path} cannot be written to.")


class StoreFolder(Folder):
    """All that is below a prefix in a bucket."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/")
        self._prefix = store_url(url).key

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Upload in parts, which the store puts together at the end."""
        self._store.write(self._key(name), pieces)

    def read(self, name: str) -> bytes | None:
        """Return the object's bytes."""
        from headrace.connectors.kit.stores.object_store import NoSuchObject

        try:
            return self._store.read(self._key(name))
        except NoSuchObject:
            return None

    def list(self, folder: str) -> Iterator[str]:
        """Yield the objects."""
        start = len(self._key(""))
        for found in self._store.list(self._key(folder)):
            yield found.key[start:]

    def delete(self, names: Iterable[str]) -> None:
        """Remove the objects."""
        self._store.delete(map(self._key, names))

    def location(self, name: str) -> str:
        """Return the URL."""
        return f"{self._url}/{name}"

    def check(self) -> None:
        """Look into the bucket; whether it may be written to only a load can tell."""
        next(self.list(""), None)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


@contextmanager
def opened(path: str, storage: AnyStorage | None) -> Iterator[Folder]:
    """Hold the folder of a configuration open. Raises ConnectorError."""
    if storage is None:
        yield LocalFolder(local_path(path))
        return
    from headrace.connectors.kit.stores import object_store

    with object_store.opened(storage, store_url(path).bucket) as store:
        yield StoreFolder(store, path)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except ConnectorError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise Rejected(f"The disk of {folder} is full.") from None
        raise Rejected(f"{folder} cannot be written to: {error.strerror}.") from None


def _remove_dead(folder: Path, start: str) -> None:
    """Remove the unfinished files that nobody holds: their writers were killed."""
    for path in folder.glob(f".{glob.escape(start)}*{_UNFINISHED}"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - path.stat().st_mtime > _MOMENT:
                path.unlink()


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
