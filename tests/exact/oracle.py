"""What a destination must hold: computed from the changes alone, by the rules of docs/exactness.md."""

import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cursor_forms import FORMS
from history_steps import Add, Change, Delete, Drop, Plan, Put, Rename, Retype, change
from model import Row, Rows, Table, canonical, difference

SALT = "a long random text"
ROWS_OF_A_FILE = 8
"""A file of a folder holds the rows of so many numbers in turn."""

Version = tuple[int, int]  # of a row: its number, and how often it had been written


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What may be there after a run."""

    must: Rows
    may: Rows = field(default_factory=Counter)  # rows beyond those, which are allowed
    either: tuple[tuple[Rows, ...], ...] = ()  # of each of these, exactly one

    def problem(self, found: Rows) -> str:
        """Say what is wrong with what was found; empty: nothing."""
        rest, wrong = Counter(found), ""
        for choices in self.either:
            fitting = [choice for choice in choices if not choice - rest]
            if not fitting:
                wrong += f"none of {choices} is there; "
            else:
                rest -= max(fitting, key=Counter.total)
        return wrong + difference(self.must, rest - (rest - self.must & self.may))


@dataclass(kw_only=True)
class Oracle:
    """The table at the source, and what the destination has of it."""

    plan: Plan
    by_file: bool  # runs read whole files that are new or were written again
    tells_apart: bool  # runs know which rows are new, whatever they look like
    table: Table = field(default_factory=Table)
    kinds: dict[str, str] = field(default_factory=dict)  # of all columns that ever were, by name
    versions: dict[int, int] = field(default_factory=dict)  # of the rows at the source
    delivered: set[Version] = field(default_factory=set)
    last: dict[int, Row] = field(default_factory=dict)  # each row as it was delivered last
    held: list[Row] = field(default_factory=list)  # full_refresh and append: what the destination holds
    merged: dict[int, Row] = field(default_factory=dict)  # merge: the same, by key
    rivals: list[Row] = field(default_factory=list)  # of the second pipeline
    meanwhile: dict[int, Row] = field(default_factory=dict)  # written while the next run reads
    is_reset: bool = False  # the next run reads everything and replaces the table
    has_changed_columns: bool = False  # since the last run, so that rows look changed
    _writes: int = 0

    def change(self, step: Change) -> None:
        """Take a change at the source."""
        change(self.table, step)
        match step:
            case Put():
                self._write(step.number)
            case Delete():
                del self.versions[step.number]
                self._touch(step.number)
            case Add() | Rename() | Retype():
                self.kinds |= self.table.kinds()
        if isinstance(step, Drop | Rename | Retype):
            self.has_changed_columns = True
        if isinstance(step, Drop | Rename):  # files are written again where these change them
            for number in list(self.versions):
                self._touch(number)

    def _write(self, number: int) -> None:
        self._writes += 1
        self.versions[number] = self._writes
        self._touch(number)

    def _touch(self, number: int) -> None:
        """Where whole files are read, all rows of a file are as new as the newest of them."""
        if self.by_file and self.plan.is_incremental:
            for other in self.versions:
                if other // ROWS_OF_A_FILE == number // ROWS_OF_A_FILE:
                    self._writes += 1
                    self.versions[other] = self._writes

    # What is new

    def new(self) -> dict[int, Row]:
        """Return the rows that the next run has to deliver, as the source has them."""
        return {
            number: row
            for number, row in self.table.rows.items()
            if self._reads_all or (number, self.versions[number]) not in self.delivered
        }

    @property
    def _reads_all(self) -> bool:
        return self.is_reset or not self.plan.is_incremental

    def passed(self, rows: Iterable[Row]) -> list[Row]:
        """Return what the transforms leave of rows, by the columns' names."""
        named = (self.transformed(self.table.named(row)) for row in rows)
        return [row for row in named if row is not None]

    def transformed(self, row: Row) -> Row | None:
        """Return what the transforms make of a row; None where they drop it."""
        row = dict(row)
        for what, name in self.plan.transforms:
            match what:
                case "exclude":
                    row.pop(name, None)
                case "rename":
                    row[f"r_{name}"] = row.pop(name, None)
                case "hash":
                    row[name] = _hash(row.get(name))
                case "drop":
                    if row["id"] % 3 == 0:
                        return None
        return row

    def columns(self) -> dict[str, str]:
        """Return the kinds of the destination's columns by name."""
        kinds = dict(self.table.kinds() if self._reads_all else self.kinds)
        for what, name in self.plan.transforms:
            match what:
                case "exclude":
                    kinds.pop(name, None)
                case "rename" if name in kinds:
                    kinds[f"r_{name}"] = kinds.pop(name)
                case "hash" if name in kinds:
                    kinds[name] = "text"
        return kinds

    # What must be there

    def before(self) -> Expected:
        """Return what the destination holds before the next run, in the columns that it has now."""
        rows = [*(self.merged.values() if self.plan.mode == "merge" else self.held), *self.rivals]
        return Expected(must=self.canonical(rows))

    def after(self) -> Expected:
        """Return what it must hold after the next run."""
        if self.plan.mode == "merge":
            choices = self._choices()
            sure = [row for key, row in self._merged(self.new()).items() if key not in choices]
            either = tuple(
                tuple(self.canonical([] if one is None else [one]) for one in each)
                for each in choices.values()
            )
            return Expected(must=self.canonical([*sure, *self.rivals]), either=either)
        held = [] if self._reads_all else self.held
        new = self.new()
        unsure = self.unsure() | self.meanwhile
        sure = [row for number, row in new.items() if number not in unsure]
        return Expected(
            must=self.canonical([*held, *self.passed(sure), *self.rivals]),
            may=self.canonical(self.passed(unsure.values())),
        )

    def _merged(self, rows: dict[int, Row]) -> dict[int, Row]:
        """Return the merged table: a column that rows lack keeps its values."""
        merged = {} if self._reads_all else dict(self.merged)
        for number, row in rows.items():
            for passed in self.passed([row]):
                merged[number] = {**merged.get(number, {}), **passed}
        return merged

    def _choices(self) -> dict[int, list[Row | None]]:
        """Return what may become of rows that are read again, or that came while the run was reading.

        The likeliest first, None where the row may be missing.
        """
        merged, new = {} if self._reads_all else self.merged, self.new()
        unsure = self.table.rows if self.has_changed_columns and not self._reads_all else {}
        choices: dict[int, list[Row | None]] = {}
        for number in {*unsure, *self.meanwhile} - (new.keys() - self.meanwhile.keys()):
            before = merged.get(number)
            now = [rows[number] for rows in (self.meanwhile, self.table.rows) if number in rows]
            passed = [{**(before or {}), **one} for one in self.passed(now)]
            choices[number] = [*passed, before]
        return choices

    def unsure(self) -> dict[int, Row]:
        """Return the rows that may be delivered or not: written again as they were, or only in other columns.

        Rows that are known by their looks alone look changed where a column has changed.
        """
        if self._reads_all or self.by_file:
            return {}
        new = self.new()
        again = {
            number: row
            for number, row in new.items()
            if number in self.last and self._looks(row) == self._looks(self.last[number])
        }
        if (self.has_changed_columns and not self.tells_apart) or self._has_json_of_any_kind:
            again |= {
                number: row
                for number, row in self.table.rows.items()
                if number not in new and self._is_near(row["changed"])
            }
        return again

    @property
    def _has_json_of_any_kind(self) -> bool:
        """Whether a column is objects in one read, and text in another that has lists too."""
        return self.plan.source in ("rest", "python") and "json" in self.kinds.values()

    def _is_near(self, cursor: Any) -> bool:
        """Whether a row that was delivered is read again: it has no cursor, or the last one's, or nearly."""
        order = FORMS[self.plan.cursor].order
        known = [order(row["changed"]) for row in self.last.values() if row["changed"] is not None]
        return cursor is None or self.plan.lookback > 0 or not known or order(cursor) >= max(known)

    def _looks(self, row: Row) -> Rows:
        return canonical([self.table.named(row)], self.table.kinds())

    def canonical(self, rows: Iterable[Row]) -> Rows:
        """Return rows of the destination as they are compared."""
        return canonical(rows, self.columns())

    # After a run

    def remember(self, found: Rows) -> None:
        """Take it that a run has succeeded, and what was found then."""
        new = self.new()
        unsure = self.unsure()
        rows = {number: row for number, row in new.items() if number not in self.meanwhile}
        if self._reads_all:
            self.last = {}
        if self.plan.mode == "merge":
            self._remember_merged(rows, found)
        else:
            self._remember_held(rows, unsure, found)
        self.delivered |= {(number, self.versions[number]) for number in rows}
        self.last = self.last | rows
        self.is_reset = self.has_changed_columns = False

    def _remember_merged(self, rows: dict[int, Row], found: Rows) -> None:
        choices = self._choices()
        merged = self._merged(rows)
        for number, each in choices.items():
            merged.pop(number, None)
            fitting = [one for one in each if one is not None and not self.canonical([one]) - found]
            if fitting:
                merged[number] = fitting[0]
                if number in self.meanwhile and fitting[0] is each[0]:
                    self._arrived(number, self.meanwhile[number])
        self.merged = merged

    def _remember_held(self, rows: dict[int, Row], unsure: dict[int, Row], found: Rows) -> None:
        held = [] if self._reads_all else self.held
        self.held = [*held, *self.passed(row for number, row in rows.items() if number not in unsure)]
        rest = found - self.canonical([*self.held, *self.rivals])
        for number, row in [*unsure.items(), *self.meanwhile.items()]:
            here = self.canonical(self.passed([row]))
            if here and not here - rest:
                rest -= here
                self.held += self.passed([row])
                if number in self.meanwhile:
                    self._arrived(number, row)

    def _arrived(self, number: int, row: Row) -> None:
        self.table.rows[number] = row
        self._write(number)
        self.delivered.add((number, self.versions[number]))
        self.last[number] = row
        del self.meanwhile[number]

    def settle(self) -> None:
        """Take the rows that came while the last run was reading as changes of the source."""
        for number, row in self.meanwhile.items():
            self.table.rows[number] = row
            self._write(number)
        self.meanwhile = {}


def _hash(value: Any) -> str | None:
    if value is None:
        return None
    return hmac.digest(SALT.encode(), str(value).encode(), "sha256").hex()
