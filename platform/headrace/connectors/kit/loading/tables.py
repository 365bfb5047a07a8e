"""What a load does to a table, by write mode. A system brings the statements, and no order of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import assert_never

from headrace.connectors import Loaded, RunWarning, SchemaChange, TableOwned
from headrace.connectors.kit.loading.ledger import Entry, Ledger
from headrace.connectors.kit.loading.load import Load
from headrace.connectors.kit.loading.text_columns import other_columns, written_as_text
from headrace.connectors.kit.sql.loads import check_key
from headrace.failpoints import reach


@dataclass(kw_only=True)
class TableLoad(Load):
    """A load into a table of a SQL system that keeps the ledger beside it."""

    entry: Entry | None = field(init=False, default=None)  # the pipeline's own in the ledger
    others: list[Entry] = field(init=False, default_factory=list)  # of other pipelines that name the table
    exists: bool = field(init=False, default=False)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that rows are merged on; none where they are not merged."""
        return self.request.primary_key if self.request.disposition == "merge" else ()

    @property
    def is_own(self) -> bool:
        """Whether the ledger knows the table as this pipeline's."""
        return self.entry is not None and self.entry.is_table

    @property
    def narrows(self) -> bool:
        """Whether a column that holds only nulls takes the type of the first values that come.

        In a table that only loads of this pipeline have filled, such a column has had no type yet. In a table
        of others it may have been made for another one.
        """
        own = self.is_own and not self.request.shared
        return own and self.request.schema_contract == "evolve"

    def last(self) -> Loaded | None:
        """Ask the ledger."""
        entries = self.ledger.find(self.request.pipeline_id, self.table)
        mine = [entry for entry in entries if entry.pipeline_id == self.request.pipeline_id]
        self.entry = mine[0] if mine else None
        self.others = [entry for entry in entries if entry.pipeline_id != self.request.pipeline_id]
        return self.entry.loaded(table_exists=True) if self.entry else None

    def own(self) -> None:
        """Hold the table against the ledger."""
        self.exists = self.find()
        if self.request.shared:
            return
        if self.request.adopt:
            for other in self.others:
                detail = f"The table {self.table!r} was taken over from the pipeline {other.owner}."
                self.request.warn(RunWarning(code="destination.table_adopted", detail=detail))
        elif self.others:
            raise TableOwned(f"The table {self.table!r} belongs to the pipeline {self.others[0].owner}.")
        elif self.exists and not self.is_own:
            raise TableOwned(f"The table {self.table!r} is there already, and this pipeline did not make it.")

    def keeps(self) -> bool:
        """Ask the ledger and the catalog."""
        return self.is_own and self.exists

    def publish(self) -> None:
        """Make the table anew where that is asked for and allowed; otherwise change its rows."""
        before = self.shape() if self.exists else {}
        if not self.is_own:
            self.claim()
            reach("table_claimed", self.request.pipeline_id)
        self._change_table()
        if self.request.disposition == "replace":
            self.total = self.inserted
        if before:
            self.changes = changes(before, self.shape())

    def _change_table(self) -> None:
        request = self.request
        if not request.output.schema.names:
            if self.exists and request.disposition == "replace":
                self.begin()
                self.empty()
            return
        if request.disposition == "merge":
            check_key(self.key, request.output.schema.names)
        replaced = request.disposition == "replace" and request.schema_contract != "freeze"
        if (replaced or not self.exists) and self.can_make():
            self.make()
            return
        with self._texts_written():
            self.stage()
            self.fit()
            self.begin()
            self._change_rows()

    @contextmanager
    def _texts_written(self) -> Iterator[None]:
        """Have what comes into columns of text come as text, in the one form that each type has."""
        others = other_columns(self.request.output.schema)
        held = self.text_columns() & others if self.exists and others else set()
        names = {name for name in held if not self.narrows or self.has_values(name)}
        if not names:
            yield
            return
        request = self.request
        with written_as_text(request.output, names) as output:
            self.request = replace(request, output=output)
            self.prepare()
            yield
        self.request = request

    def _change_rows(self) -> None:
        match self.request.disposition:
            case "replace":
                self.empty()
                self.append()
            case "append":
                self.append()
            case "merge":
                self.merge()
            case _:
                assert_never(self.request.disposition)

    def note(self) -> None:
        """Write the ledger's row."""
        self.ledger.write(self.table, self.request)

    def prepare(self) -> None:
        """Derive what depends on the output's columns."""

    @property
    @abstractmethod
    def ledger(self) -> Ledger:
        """The ledger beside the table."""

    @abstractmethod
    def find(self) -> bool:
        """Whether the table exists. Raises Rejected when there is something by its name that is no table."""

    @abstractmethod
    def shape(self) -> Mapping[str, str]:
        """Return the table's columns and their types, in the system's own words, as this load sees them."""

    @abstractmethod
    def text_columns(self) -> set[str]:
        """Return the output's columns that the table holds as text and the stage as another type."""

    @abstractmethod
    def has_values(self, name: str) -> bool:
        """Whether the table's column holds anything but nulls."""

    def claim(self) -> None:
        """Name the pipeline as the owner at once, where creating a table cannot be part of a transaction."""

    @abstractmethod
    def can_make(self) -> bool:
        """Whether `make` can be used: nothing but rows and columns would be lost with the old table."""

    @abstractmethod
    def make(self) -> None:
        """Put a new table with the rows in the place of the old one, or where there is none."""

    def stage(self) -> None:
        """Send the rows to where a statement can read them."""

    @abstractmethod
    def fit(self) -> None:
        """Create the table if it is missing, and make it fit for the staged rows.

        Raises SchemaConflict, naming the column, when a value would be lost, and SchemaFrozen when the
        contract forbids what is needed.
        """

    def begin(self) -> None:
        """Begin the transaction that changes rows, where changing the table could not be part of it."""

    @abstractmethod
    def empty(self) -> None:
        """Delete every row."""

    @abstractmethod
    def append(self) -> None:
        """Add the rows."""

    @abstractmethod
    def merge(self) -> None:
        """Replace the rows of known keys, and add the others: of each key the last row that came."""


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[SchemaChange, ...]:
    """Return what is different, in the order of the columns before, then of the new ones."""
    names = [*before, *(name for name in after if name not in before)]
    return tuple(
        SchemaChange(column=name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
