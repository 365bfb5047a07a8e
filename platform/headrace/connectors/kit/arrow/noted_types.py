"""Notes of the types that files of text were written with: what `file` writes beside them, and `files` reads.

A note lies in `_headrace/types/` of the destination's folder. One of a single file bears its name and tells
which content it is of; one of a set's load is for all files of the load, whose names no other load has.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "_headrace/types"
_OF_A_SET = re.compile(r"([0-9a-f]{12}-.+)-\d{5}\.[a-z]+")
_VERSION = 1
_KEPT = 2  # of a file that is replaced: the new content's and the old one's, until the file is in its place


class Digest:
    """The size and the hash of a content, as it goes by."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._size = 0

    def passed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces."""
        for piece in pieces:
            self._hash.update(piece)
            self._size += len(piece)
            yield piece

    @property
    def text(self) -> str:
        """What tells this content from others."""
        return f"{self._size}-{self._hash.hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class NotedTypes:
    """The columns of a file, or of all files of a load, in their order."""

    schema: pa.Schema
    content: str  # the digest of the content that they are of; empty for all files of a load


def note_of(file_name: str, table: str) -> str:
    """Return the name of the note on a file of a table, below the destination's folder."""
    match = _OF_A_SET.fullmatch(file_name)
    return f"{FOLDER}/{table}/{match[1]}.json" if match else f"{FOLDER}/{file_name}.json"


def is_of_a_set(file_name: str) -> bool:
    """Whether a file has the name of one of a set's."""
    return _OF_A_SET.fullmatch(file_name) is not None


def written(schema: pa.Schema, content: str = "", before: bytes | None = None) -> bytes:
    """Return a note, which keeps an older content's types from the note `before`."""
    types = {
        "content": content,
        "columns": {field.name: str(field.type) for field in schema},  # for people
        "schema": base64.b64encode(schema.serialize().to_pybytes()).decode(),
    }
    older = [one for one in _entries(before) if one.get("content") != content] if content else []
    return json.dumps({"version": _VERSION, "types": [types, *older][:_KEPT]}, indent=1).encode()


def read(note: bytes) -> list[NotedTypes]:
    """Return what a note holds; nothing where it is none that is understood."""
    import pyarrow as pa

    found = []
    for entry in _entries(note):
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(entry["schema"])))
            found.append(NotedTypes(schema=schema, content=str(entry["content"])))
        except (KeyError, ValueError, TypeError, pa.ArrowException):
            continue
    return found


def _entries(note: bytes | None) -> list[dict[str, str]]:
    try:
        found = json.loads(note or b"{}")
        return list(found["types"]) if found.get("version") == _VERSION else []
    except (ValueError, KeyError, AttributeError, TypeError):
        return []
