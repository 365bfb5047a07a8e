"""The cursor of a stream that is followed by a field, as it is stored with the data."""

from base64 import b64decode, b64encode
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors import Cursor
from headrace.engine.cursors.followers import NoCursor
from headrace.engine.cursors.row_hashes import packed, unpacked


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the last run has stored of a stream that is followed by a field."""

    value: Cursor | None = None
    type: str | None = None
    seen: "Counter[bytes]" = field(default_factory=Counter)
    nulls: "Counter[bytes]" = field(default_factory=Counter)
    ties: int | None = None
    null_rows: int | None = None
    window: float = 0
    position: dict[str, Any] | None = None
    is_bare: bool = False

    @classmethod
    def read(cls, stored: Cursor | None) -> "Known":
        """Read a stored cursor of any release."""
        if not isinstance(stored, dict) or "value" not in stored:
            return cls(value=stored, is_bare=stored is not None)
        try:
            hashes = {name: unpacked(b64decode(stored.get(name, ""))) for name in ("seen", "nulls")}
        except (TypeError, ValueError):
            raise NoCursor("The stored cursor is damaged: its hashes are not base64.") from None
        return cls(
            value=stored["value"],
            type=stored.get("type"),
            seen=hashes["seen"],
            nulls=hashes["nulls"],
            ties=stored.get("ties"),
            null_rows=stored.get("null_rows"),
            window=stored.get("window", 0),
            position=stored.get("position"),
            is_bare=stored.keys() <= {"value", "type"} and stored["value"] is not None,
        )


def hashed(name: str, hashes: "Counter[bytes]") -> dict[str, Any]:
    """Write a multiset of hashes down, under a name; nothing where there are none."""
    return {name: b64encode(packed(hashes)).decode()} if hashes else {}
