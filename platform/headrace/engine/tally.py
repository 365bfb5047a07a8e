"""The figures of a run, added up while it goes on."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from headrace.connectors import Cursor, LoadResult, RunWarning, WriteDisposition
from headrace.errors import HeadraceError
from headrace.receipts import ColumnChange, Receipt, WarningCount

_ROWS = ("read", "repeated", "dropped", "added", "rejected")
_MOST_WARNINGS = 100  # of different texts; further ones are counted together
_FURTHER = "warnings.further"
_LONGEST_CURSOR = 1_000  # characters of JSON
_LONGEST_DETAIL = 500


class SumsDisagree(HeadraceError):
    """The figures of a run contradict each other: rows were lost or doubled on their way."""

    code = "run.sums_disagree"
    title = "Rows do not add up"
    hint = (
        "Nothing was loaded. This is a fault of Headrace or of a connector: report it with the run's receipt."
    )


class Tally:
    """Counts what one run does. Warnings of the same code and detail are added up."""

    def __init__(self) -> None:
        self.masked: Callable[[str], str] = lambda text: text
        self._receipt = Receipt()  # but for the rows
        self._rows = Counter[str]()
        self._warnings: Counter[tuple[str, str]] = Counter()

    def warn(self, warning: RunWarning) -> None:
        """Count a warning."""
        key = (warning.code, self.masked(warning.detail)[:_LONGEST_DETAIL])
        if key not in self._warnings and len(self._warnings) >= _MOST_WARNINGS:
            key = (_FURTHER, f"More than {_MOST_WARNINGS} different warnings; these are not listed.")
        self._warnings[key] += warning.count

    def begin(
        self, cursor: Cursor | None, schema_before: dict[str, str] | None, named: tuple[str, ...] = ()
    ) -> None:
        """Start counting anew: the source is read from the cursor. The rest is of the last run."""
        self._rows = Counter[str]()
        self._receipt = Receipt(
            cursor_from=self._shown(cursor), schema_before=schema_before, named_columns=named
        )

    def read(self, rows: int, *, new: int) -> None:
        """Count a batch of the source, of which some rows are new."""
        self._rows["read"] += rows
        self._rows["repeated"] += rows - new

    def transformed(self, before: int, after: int) -> None:
        """Count what the transforms made of a batch."""
        self._rows["dropped" if after < before else "added"] += abs(after - before)

    def named(self, columns: Collection[str]) -> None:
        """Note columns that transforms name and that records had."""
        known = {*self._receipt.named_columns, *columns}
        self._receipt = replace(self._receipt, named_columns=tuple(sorted(known)))

    def written(self, rows: int, schema: pa.Schema, cursor: Cursor | None) -> None:
        """Count the output file. Raises SumsDisagree if it does not hold what was read."""
        after = {self.masked(column.name): str(column.type) for column in schema}
        before = self._receipt.schema_before
        if not after and before is not None:
            after = before  # a run without rows says nothing of the columns
        self._receipt = replace(
            self._receipt,
            written=rows,
            cursor_to=self._shown(cursor),
            schema_after=after,
            schema_changes=changes(before, after) if before is not None else (),
        )
        sums = self.receipt()
        expected = sums.read - sums.repeated - sums.dropped + sums.added
        if rows != expected:
            raise SumsDisagree(f"{rows:,} rows were written where {expected:,} were read.")

    def refused(self, rows: int) -> None:
        """Count rows for which the run fails."""
        self._rows["rejected"] += rows

    def loaded(self, result: LoadResult) -> None:
        """Take the destination's figures: the data is there."""
        moved = tuple(
            ColumnChange(column=self.masked(change.column), before=change.before, after=change.after)
            for change in result.schema_changes
        )
        self._receipt = replace(
            self._receipt,
            loaded=result.rows,
            inserted=result.inserted,
            updated=result.updated,
            deleted=result.deleted,
            total=result.total,
            location=self.masked(result.location),
            table_changes=moved,
        )

    def receipt(self) -> Receipt:
        """Return the figures so far."""
        listed = (
            WarningCount(code=code, detail=detail, count=count)
            for (code, detail), count in self._warnings.items()
        )
        rows: dict[str, Any] = dict(self._rows)
        return replace(self._receipt, **rows, warnings=tuple(listed))

    def restore(self, text: str) -> None:
        """Go on from the figures that an earlier attempt of the run has written down."""
        self._receipt = Receipt.from_json(text)
        self._rows = Counter({name: getattr(self._receipt, name) for name in _ROWS})
        self._warnings = Counter({(each.code, each.detail): each.count for each in self._receipt.warnings})

    def log_warnings(self, log: logging.Logger) -> None:
        """Write one line for each warning."""
        for each in self.receipt().warnings:
            log.warning("%s: %s (%s)", each.code, each.detail, f"{each.count:,}")

    def _shown(self, cursor: Cursor | None) -> Cursor | None:
        """Return a cursor as a receipt shows it: a long one is a source's own bookkeeping, and is cut."""
        if isinstance(cursor, dict) and "value" in cursor:
            cursor = cursor["value"]  # the rest says which rows at the value are known
        text = json.dumps(cursor)
        masked = self.masked(text)
        if len(masked) > _LONGEST_CURSOR:
            return f"{masked[:_LONGEST_CURSOR]}…"
        return cursor if masked == text else masked


def check_load(written: int, result: LoadResult, disposition: WriteDisposition) -> None:
    """Raise SumsDisagree if the destination's figures contradict the rows of the output file."""
    inserted = result.inserted
    if result.rows != written:
        raise SumsDisagree(f"{result.rows:,} rows were loaded of {written:,} that were written.")
    if disposition == "merge":
        touched = (inserted or 0) + (result.updated or 0)
        if touched > written:
            raise SumsDisagree(f"{touched:,} rows were merged of {written:,} that were written.")
    elif inserted is not None and inserted != written:
        raise SumsDisagree(f"{inserted:,} rows were inserted of {written:,} that were written.")
    if disposition == "replace" and result.total not in (None, written):
        raise SumsDisagree(f"The table holds {result.total:,} rows after {written:,} were loaded.")


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ColumnChange, ...]:
    """Return what is different of two schemas, by column."""
    names = dict.fromkeys((*after, *before))
    return tuple(
        ColumnChange(column=name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
