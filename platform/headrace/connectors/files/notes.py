"""The types that the `file` destination has noted of files of text, and of columns in folders' names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from headrace.connectors import ConnectorError
from headrace.connectors.kit.arrow import noted_types
from headrace.connectors.kit.arrow.noted_types import Digest, NotedTypes

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.files.found import Found

_CHUNK = 1024 * 1024


class Notes:
    """The notes on the files of one read; each folder is looked into once."""

    def __init__(self) -> None:
        self._listed: dict[str, set[str]] = {}
        self._read: dict[str, list[NotedTypes]] = {}

    def schema(self, found: Found, content: Path) -> pa.Schema | None:
        """Return the columns that a file was written with; None where that is not known of this content."""
        entries = self._entries(found)
        if not entries:
            return None
        if noted_types.is_of_a_set(PurePosixPath(found.name).name):
            return entries[0].schema
        size = content.stat().st_size
        if not any(entry.content.startswith(f"{size}-") for entry in entries):
            return None
        digest = _digest(content)
        return next((entry.schema for entry in entries if entry.content == digest), None)

    def _entries(self, found: Found) -> list[NotedTypes]:
        """Read the note that would be on the file: beside the file, or beside its set's folder."""
        scheme, separator, path = found.name.rpartition("://")
        file = PurePosixPath(path)
        folder = file.parent
        while "=" in folder.name:
            folder = folder.parent
        root = folder.parent if noted_types.is_of_a_set(file.name) else folder
        path_of_note = root / noted_types.note_of(file.name, folder.name)
        note = f"{scheme}{separator}{path_of_note}"
        notes = f"{scheme}{separator}{path_of_note.parent}"
        if notes not in self._listed:
            self._listed[notes] = _names(found, notes)
        if note not in self._listed[notes]:
            return []
        if note not in self._read:
            self._read[note] = noted_types.read(found.place.content(note))
        return self._read[note]


def _names(found: Found, folder: str) -> set[str]:
    try:
        return set(found.place.names(folder))
    except (ConnectorError, OSError):  # who may read files may not be let list folders
        return set()


def _digest(path: Path) -> str:
    digest = Digest()
    with path.open("rb") as file:
        for _ in digest.passed(iter(lambda: file.read(_CHUNK), b"")):
            pass
    return digest.text
