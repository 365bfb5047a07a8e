"""What a source can read, and positions within it."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Cursor = Any
"""A position in a stream as a JSON value (string, number or object); it orders within one stream only."""


class SyncMode(StrEnum):
    """How much of a stream a run reads."""

    FULL_REFRESH = "full_refresh"  # all of it; the destination's table is replaced as one
    INCREMENTAL = "incremental"  # what comes after the cursor; appended, or merged on the primary key


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One table-like thing that a source can read."""

    name: str
    description: str = ""
    sync_modes: tuple[SyncMode, ...] = (SyncMode.FULL_REFRESH,)
    primary_key: tuple[str, ...] = ()
    cursor_field: str | None = None  # None with incremental: the pipeline must name one
    checkpointed: bool = False  # the source's own checkpoints are the only cursors; there is no cursor field


def cursor_text(cursor: Cursor) -> str:
    """Write a cursor down as JSON, the form in which it is stored."""
    return json.dumps(cursor, separators=(",", ":"), sort_keys=True)
