"""What a load does to a table, by write mode. A system brings the statements, and no order of its own."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import assert_never

from headrace.connectors import Loaded
from headrace.connectors.kit.loading.ledger import Ledger
from headrace.connectors.kit.loading.load import Load
from headrace.connectors.kit.sql.loads import check_key


@dataclass(kw_only=True)
class TableLoad(Load):
    """A load into a table of a SQL system that keeps the ledger beside it."""

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that rows are merged on; none where they are not merged."""
        return self.request.primary_key if self.request.disposition == "merge" else ()

    def publish(self) -> None:
        """Make the table anew where that is asked for and allowed; otherwise change its rows."""
        request, exists = self.request, self.find()
        if not request.output.schema.names:
            if exists and request.disposition == "replace":
                self.begin()
                self.empty()
            return
        if request.disposition == "merge":
            check_key(self.key, request.output.schema.names)
        replaced = request.disposition == "replace" and request.schema_contract != "freeze"
        if (replaced or not exists) and self.can_make():
            self.make()
            return
        self.stage()
        self.fit()
        self.begin()
        self._change_rows()

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

    def last(self) -> Loaded | None:
        """Return what the ledger holds of the pipeline."""
        return self.ledger.last(self.request.pipeline_id)

    def note(self) -> None:
        """Write the ledger's row."""
        self.ledger.write(self.table, self.request)

    @property
    @abstractmethod
    def ledger(self) -> Ledger:
        """The ledger beside the table."""

    @abstractmethod
    def find(self) -> bool:
        """Whether the table exists. Raises Rejected when there is something by its name that is no table."""

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
