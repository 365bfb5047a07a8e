"""Where files lie, which of them match, and how each is laid open on this machine."""

from __future__ import annotations

import glob
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.connectors import ConnectorError, Unreadable
from headrace.connectors.kit.local_paths import local_path
from headrace.connectors.kit.network.downloads import Changed, Download
from headrace.connectors.kit.network.limits import TransferLimits
from headrace.connectors.kit.stores.config import StoreUrl
from headrace.connectors.kit.stores.object_store import NoSuchObject, ObjectChanged, StoredObject

if TYPE_CHECKING:
    from headrace.connectors.kit.stores.object_store import ObjectStore

RECORDS = "_headrace"
"""The folder of the `file` destination's own records, which are no data: no pattern matches what is in it."""

_MAGIC = re.compile(r"[*?\[]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTES_BETWEEN_CHECKS = 16 * 1024 * 1024
Check = Callable[[], None]


class FileChanged(ConnectorError):
    """A file was changed, replaced or removed while it was read."""

    code = "source.file_changed"
    title = "File changed while it was read"
    hint = "Run again. Write files elsewhere and move them to their place when they are whole."
    temporary = True


class NoModificationTime(Unreadable):
    """A server does not say when a file was last changed, so changes cannot be told."""

    code = "source.no_modification_time"
    title = "Time of the last change unknown"
    hint = "Read the URL with full_refresh."


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file that matches."""

    name: str  # as people know it: a path, a URL without its query
    modified: str  # UTC with nanoseconds, so that texts are in order as the times are; empty: unknown
    place: Place = field(repr=False)
    folders: tuple[str, ...] = ()  # that it lies in, below the fixed part of the pattern
    version: str = ""  # what changes with the content, besides the time: a size, an ETag
    object: StoredObject | None = None  # of an object store

    @contextmanager
    def opened(self, check: Check) -> Iterator[Path]:
        """Lay the file open; `check` is called on the way. Raises FileChanged, at the end at the latest."""
        try:
            with self.place.opened(self, check) as path:
                yield path
        except (FileNotFoundError, NoSuchObject, ObjectChanged, Changed):
            raise FileChanged(f"{self.name} was changed or removed while it was read.") from None


class Place(ABC):
    """What one of the configured paths stands for."""

    @abstractmethod
    def find(self, *, with_times: bool) -> Iterator[Found]:
        """Yield the files, in the order of their names. Raises ConnectorError."""

    @abstractmethod
    def opened(self, found: Found, check: Check) -> AbstractContextManager[Path]:
        """Lay one of the files open for reading."""

    def names(self, folder: str) -> Iterable[str]:
        """Return the names of the files in a folder, which is named as files are. Raises ConnectorError."""
        return ()

    def content(self, name: str) -> bytes:
        """Return the content of a small file; nothing where there is none."""
        return b""


@dataclass(frozen=True)
class LocalPlace(Place):
    """A path on the worker's machine, or a pattern of such."""

    pattern: str

    def find(self, *, with_times: bool) -> Iterator[Found]:
        """Yield the files that match; those of a pattern lie below its folder, whatever links say."""
        pattern = str(local_path(self.pattern))
        matches = sorted(Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        fixed = _fixed(Path(pattern)) if _MAGIC.search(pattern) else None
        folder = fixed.resolve() if fixed is not None else None
        for path in matches:
            if RECORDS in path.parts:
                continue
            if folder is not None and not path.resolve().is_relative_to(folder):
                raise Unreadable(f"{path} is a link that leads out of {folder}: name its target in `paths`.")
            if path.is_file():
                stat = path.stat()
                modified = _nanoseconds(stat.st_mtime_ns)
                folders = path.parent.relative_to(fixed).parts if fixed is not None else ()
                yield Found(
                    name=str(path), modified=modified, version=str(stat.st_size), folders=folders, place=self
                )

    def names(self, folder: str) -> Iterable[str]:
        """Return the paths of the files in a folder."""
        return [str(path) for path in Path(folder).iterdir()] if Path(folder).is_dir() else ()

    def content(self, name: str) -> bytes:
        """Return the file's content."""
        return Path(name).read_bytes() if Path(name).is_file() else b""

    @contextmanager
    def opened(self, found: Found, check: Check) -> Iterator[Path]:
        """Give the file itself, and look at its stamp before and after. Raises ObjectChanged."""
        path = Path(found.name)
        before = path.stat()
        if _nanoseconds(before.st_mtime_ns) != found.modified:
            raise ObjectChanged
        yield path
        after = path.stat()
        if (after.st_mtime_ns, after.st_size, after.st_ino) != (
            before.st_mtime_ns,
            before.st_size,
            before.st_ino,
        ):
            raise ObjectChanged


@dataclass(frozen=True)
class WebPlace(Place):
    """An http or https URL."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    limits: TransferLimits

    def find(self, *, with_times: bool) -> Iterator[Found]:
        """Yield the one file, and ask when it was changed only if that matters."""
        parts = urlsplit(self.url)
        modified = ""
        if with_times:
            changed = Download(self.url, self.headers, self.limits).last_modified()
            if changed is None:
                raise NoModificationTime(f"The server does not say when {parts.path} was last changed.")
            modified = _text(changed)
        yield Found(name=f"{parts.scheme}://{parts.netloc}{parts.path}", modified=modified, place=self)

    @contextmanager
    def opened(self, found: Found, check: Check) -> Iterator[Path]:
        """Fetch the file into a temporary one. Raises Changed, where the server can tell."""
        unless_changed = datetime.fromisoformat(found.modified) if found.modified else None
        with tempfile.NamedTemporaryFile(prefix="headrace-") as file:
            download = Download(self.url, self.headers, self.limits, check)
            _checked(download.into(file.file, unless_changed), check)
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True)
class StorePlace(Place):
    """A key in an object store, or a pattern of keys."""

    url: StoreUrl
    store: ObjectStore = field(repr=False)

    def find(self, *, with_times: bool) -> Iterator[Found]:
        """Yield the objects that match."""
        if not _MAGIC.search(self.url.key):
            try:
                yield self._found(self.store.head(self.url.key))
            except NoSuchObject:
                return
            return
        matches = re.compile(_expression(self.url.key))
        folder = str(_fixed(Path(self.url.key)))
        for listed in self.store.list("" if folder == "." else folder):
            parts = Path(listed.key).parts
            if matches.fullmatch(listed.key) and RECORDS not in parts:
                yield self._found(listed, parts[len(Path(folder).parts) : -1])

    @contextmanager
    def opened(self, found: Found, check: Check) -> Iterator[Path]:
        """Fetch just the object that was found into a temporary file. Raises ObjectChanged."""
        assert found.object is not None
        with tempfile.NamedTemporaryFile(prefix="headrace-") as file:
            sizes = self.store.download(found.object, file.file)
            _checked(_sums(sizes), check)
            file.flush()
            yield Path(file.name)

    def names(self, folder: str) -> Iterable[str]:
        """Return the URLs of the objects below a prefix."""
        start = f"{self.url.scheme}://{self.url.bucket}/"
        return [start + listed.key for listed in self.store.list(folder.removeprefix(start))]

    def content(self, name: str) -> bytes:
        """Return the object's content."""
        try:
            return self.store.read(name.removeprefix(f"{self.url.scheme}://{self.url.bucket}/"))
        except NoSuchObject:
            return b""

    def _found(self, listed: StoredObject, folders: tuple[str, ...] = ()) -> Found:
        name = f"{self.url.scheme}://{self.url.bucket}/{listed.key}"
        version = listed.etag or str(listed.size)
        return Found(
            name=name,
            modified=_text(listed.modified),
            version=version,
            folders=folders,
            place=self,
            object=listed,
        )


def _fixed(pattern: Path) -> Path:
    """The folder below which everything lies that matches."""
    parts = pattern.parts
    first = next((index for index, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    return Path(*parts[:first])


def _expression(pattern: str) -> str:
    """A pattern as a regular expression, with the meaning that it has for local files.

    `*` and `?` stay within one part and `**` crosses parts; neither matches a name that begins with a dot.
    """
    parts = []
    for part in pattern.split("/"):
        if part == "**":
            parts.append(r"(?:[^/.][^/]*/)*")
        else:
            hidden = "" if part.startswith(".") else r"(?!\.)"
            parts.append(hidden + _part_expression(part) + "/")
    return "".join(parts).removesuffix("/") if not pattern.endswith("**") else "".join(parts) + r"[^/.][^/]*"


def _part_expression(part: str) -> str:
    expression, index = "", 0
    while index < len(part):
        character = part[index]
        index += 1
        closing = part.find("]", index + 1) if character == "[" else -1
        if closing > 0:
            inside = part[index:closing].replace("\\", r"\\").replace("[", r"\[")
            expression += "[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]"
            index = closing + 1
        else:
            expression += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
    return expression


def _checked(sizes: Iterable[int], check: Check) -> None:
    """Go through a transfer, which tells its size so far, and check every now and then."""
    due = _BYTES_BETWEEN_CHECKS
    for size in sizes:
        if size >= due:
            due = size + _BYTES_BETWEEN_CHECKS
            check()


def _sums(sizes: Iterable[int]) -> Iterator[int]:
    total = 0
    for size in sizes:
        total += size
        yield total


def _nanoseconds(since_epoch: int) -> str:
    seconds, rest = divmod(since_epoch, 1_000_000_000)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:  # a clock may say anything
        return "9999-12-31T23:59:59.999999999Z" if seconds > 0 else "0001-01-01T00:00:00.000000000Z"
    return f"{moment.isoformat(timespec='seconds')[:19]}.{rest:09}Z"


def _text(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:26]}000Z"
