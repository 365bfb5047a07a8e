"""Where the `file` destination writes: a folder of this machine, or one of an object store."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from headrace import scratch
from headrace.connectors import ConnectorError, MovedOn, OutOfSpace, Rejected
from headrace.connectors.kit.local_paths import local_path
from headrace.connectors.kit.stores.config import storage_for, store_url
from headrace.errors import is_disk_full
from headrace.failpoints import reach

if TYPE_CHECKING:
    from headrace.connectors.file.config import FileConfig
    from headrace.connectors.kit.stores.object_store import ObjectStore

_UNFINISHED = ".unfinished"


class Folder(ABC):
    """Files by their names below the folder, with `/` between parts."""

    @abstractmethod
    def write(self, name: str, pieces: Iterable[bytes], writer: str) -> None:
        """Publish a file: readers see all of it or what was there, which an error of `pieces` leaves.

        Until then its name tells the writer, a pipeline's tag, and is like no other's.
        """

    @abstractmethod
    def sweep(self, folder: str, writer: str, *, below: bool) -> None:
        """Remove what a writer that was killed has left unfinished in a folder, or also below it."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a small file's content; None where there is no such file."""

    @abstractmethod
    def list(self, folder: str) -> Iterator[str]:
        """Yield the names of the files below a folder."""

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are none to worry about."""

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

    def write(self, name: str, pieces: Iterable[bytes], writer: str) -> None:
        """Write beside the final name, then rename over what was there.

        Raises MovedOn if the writer's next load has swept the file away before that.
        """
        target = self._path / name
        unfinished = target.with_name(f".{writer}-{uuid4().hex}{_UNFINISHED}")
        with _disk(self._path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with scratch.elsewhere(unfinished):
                    with unfinished.open("wb") as file:
                        file.writelines(pieces)
                        file.flush()
                        os.fsync(file.fileno())
                    reach("file_written", writer)
                    unfinished.replace(target)
            except FileNotFoundError:
                detail = f"Another load of this pipeline has removed what this one wrote for {target}."
                raise MovedOn(detail) from None
            finally:
                unfinished.unlink(missing_ok=True)
            _sync(target.parent)
        reach("file_published", writer)

    def sweep(self, folder: str, writer: str, *, below: bool) -> None:
        """Remove files by their names."""
        pattern = f".{writer}-*{_UNFINISHED}"
        place = self._path / folder
        for path in place.rglob(pattern) if below else place.glob(pattern):
            path.unlink(missing_ok=True)

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

    def write(self, name: str, pieces: Iterable[bytes], writer: str) -> None:
        """Upload in parts, which the store puts together at the end."""
        self._store.write(self._key(name), pieces)
        reach("file_published", writer)

    def sweep(self, folder: str, writer: str, *, below: bool) -> None:
        """Nothing to remove: parts of an upload that was not finished are no objects."""

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
def opened(config: FileConfig) -> Iterator[Folder]:
    """Hold the folder of a configuration open. Raises ConnectorError."""
    storage = storage_for([config.path], config.storage)
    if storage is None:
        yield LocalFolder(local_path(config.path))
        return
    from headrace.connectors.kit.stores import object_store

    with object_store.opened(storage, store_url(config.path).bucket, config.limits) as store:
        yield StoreFolder(store, config.path)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except ConnectorError:
        raise
    except OSError as error:
        if is_disk_full(error):
            raise OutOfSpace(f"The disk of {folder} is full.") from None
        raise Rejected(f"{folder} cannot be written to: {error.strerror}.") from None


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
