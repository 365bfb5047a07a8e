"""The ledger: a table beside the loaded ones that says what each pipeline loaded last, and where.

Its columns and what they mean are defined here; a system adds its names of types and its way to run SQL.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from headrace.connectors import Loaded, LoadRequest, cursor_text

LEDGER = "_headrace_loads"
"""The ledger's name. A row is written in the transaction of the load that it is of."""

Kind = Literal["key", "name", "text", "number", "instant"]

COLUMNS: Mapping[str, Kind] = {
    "pipeline_id": "key",  # one row a pipeline
    "load_id": "name",
    "table_name": "name",
    "cursor": "text",  # JSON; null: the load has none
    "rows": "number",  # of the load
    "loaded_at": "instant",
}

_LAST = "SELECT {names} FROM {ledger} WHERE pipeline_id = {pipeline_id}"
_FORGET = "DELETE FROM {ledger} WHERE pipeline_id = {pipeline_id}"
_WRITE = (
    "INSERT INTO {ledger} ({names}) VALUES"
    " ({pipeline_id}, {load_id}, {table_name}, nullif({cursor}, 'null'), {rows}, {now})"
)


class Ledger(ABC):
    """The ledger of one schema, file or dataset, within the transaction that is open."""

    types: ClassVar[Mapping[Kind, str]]
    now: ClassVar[str]  # the time of the load, as SQL
    quote: ClassVar[str] = '"'

    def last(self, pipeline_id: str) -> Loaded | None:
        """Return the pipeline's last committed load; None where it never loaded."""
        if not self.columns():
            return None
        rows = self._rows(_LAST, {"pipeline_id": pipeline_id})
        return next((_loaded(row) for row in rows), None)

    def write(self, table: str, request: LoadRequest) -> None:
        """Make this load the pipeline's last one."""
        self.ensure()
        self._run(_FORGET, {"pipeline_id": request.pipeline_id})
        values: dict[str, str | int] = {
            "pipeline_id": request.pipeline_id,
            "load_id": request.load_id,
            "table_name": table,
            "cursor": cursor_text(request.cursor),
            "rows": request.output.rows,
        }
        self._run(_WRITE, values)

    @abstractmethod
    def ensure(self) -> None:
        """Create the ledger if it is missing. Some systems cannot do it within a transaction."""

    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Return the names of the ledger's columns; none where there is no ledger."""

    @abstractmethod
    def name(self) -> str:
        """Return the ledger's name as SQL."""

    @abstractmethod
    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return how a statement refers to its n-th value, from 1."""

    @abstractmethod
    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return a query's rows."""

    @abstractmethod
    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Run a statement as part of the load's transaction."""

    def definition(self) -> str:
        """Return the columns as CREATE TABLE takes them."""
        q = self.quote
        return ", ".join(f"{q}{name}{q} {self.types[kind]}" for name, kind in COLUMNS.items())

    def _rows(self, text: str, values: Mapping[str, str | int]) -> list[dict[str, Any]]:
        held = self.columns()
        names = [name for name, kind in COLUMNS.items() if name in held and kind != "instant"]
        found = self.fetch(self._sql(text, names, values), values)
        return [dict(zip(names, row, strict=True)) for row in found]

    def _run(self, text: str, values: Mapping[str, str | int]) -> None:
        self.execute(self._sql(text, list(COLUMNS), values), values)

    def _sql(self, text: str, names: Sequence[str], values: Mapping[str, str | int]) -> str:
        listed = ", ".join(f"{self.quote}{name}{self.quote}" for name in names)
        marks = {name: self.mark(place, name, value) for place, (name, value) in enumerate(values.items(), 1)}
        return text.format(ledger=self.name(), names=listed, now=self.now, **marks)


def _loaded(row: Mapping[str, Any]) -> Loaded:
    return Loaded(load_id=row["load_id"], cursor=json.loads(row["cursor"] or "null"))
