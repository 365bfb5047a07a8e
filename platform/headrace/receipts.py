"""What a run did, in figures that must agree: stored with the run, and shown by every view of it."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class ColumnChange:
    """A column that is not as it was before the run."""

    column: str
    before: str | None  # the type; None: the column is new
    after: str | None  # None: the column is gone


@dataclass(frozen=True, kw_only=True)
class WarningCount:
    """Warnings of one code and detail, added up."""

    code: str
    detail: str
    count: int  # of rows, files or pages


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a run did. A figure is None where nobody can tell, or where the run did not come so far."""

    read: int = 0  # rows that the source gave
    repeated: int = 0  # of these, rows that an earlier run has loaded
    dropped: int = 0  # rows that transforms removed
    added: int = 0  # rows that transforms made
    rejected: int = 0  # rows that have failed the run: all rows are loaded, or none
    written: int | None = None  # rows of the output file: read - repeated - dropped + added
    loaded: int | None = None  # rows that the destination took; equal to `written`
    inserted: int | None = None
    updated: int | None = None
    deleted: int | None = None
    total: int | None = None  # rows of the table after the load, counted by the destination
    location: str | None = None  # where the data is, for people
    cursor_from: Any = None
    cursor_to: Any = None
    schema_before: dict[str, str] | None = None  # Arrow types by column, of the last run that succeeded
    schema_after: dict[str, str] | None = None
    schema_changes: tuple[ColumnChange, ...] = ()  # between the two
    table_changes: tuple[ColumnChange, ...] = ()  # of the destination's table, in its own types
    named_columns: tuple[str, ...] = ()  # columns that transforms name, and that some run has had
    warnings: tuple[WarningCount, ...] = ()

    def as_json(self) -> str:
        """Return the receipt as it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return a stored receipt; figures of newer releases are left out."""
        found = {name: value for name, value in json.loads(text).items() if name in _NAMES}
        for name in ("schema_changes", "table_changes"):
            found[name] = tuple(ColumnChange(**change) for change in found.get(name) or ())
        found["named_columns"] = tuple(found.get("named_columns") or ())
        found["warnings"] = tuple(WarningCount(**warning) for warning in found.get("warnings") or ())
        return cls(**found)


_NAMES = frozenset(Receipt.__dataclass_fields__)
