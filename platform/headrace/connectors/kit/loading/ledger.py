"""The ledger: a table beside the loaded ones that says what each pipeline loaded last, and where.

Its columns and what they mean are defined here; a system adds its names of types and its way to run SQL.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from headrace.connectors import Cursor, Loaded, LoadRequest, cursor_text

LEDGER = "_headrace_loads"
"""The ledger's name. A row is written in the transaction of the load that it is of."""

Kind = Literal["key", "name", "text", "number", "instant"]

COLUMNS: Mapping[str, Kind] = {
    "pipeline_id": "key",  # one row a pipeline
    "load_id": "name",  # empty: the table is claimed, and nothing has been committed to it
    "table_name": "name",  # the table of the last load, which belongs to the pipeline
    "cursor": "text",  # JSON; null: the load has none
    "rows": "number",  # of the load
    "loaded_at": "instant",
    "identity": "text",  # what the cursor belongs to; the columns from here on are newer than the table
    "pipeline_name": "text",  # for people who ask whose table it is
}

_FIND = (
    "SELECT {names}, CASE WHEN {same_table} THEN 1 ELSE 0 END FROM {ledger}"
    " WHERE pipeline_id = {pipeline_id} OR {same_table}"
)
_LAST = "SELECT {names}, 1 FROM {ledger} WHERE pipeline_id = {pipeline_id}"
_FORGET = "DELETE FROM {ledger} WHERE pipeline_id = {pipeline_id}"
_TAKE_OVER = "DELETE FROM {ledger} WHERE pipeline_id = {pipeline_id} OR {same_table}"
_WRITE = (
    "INSERT INTO {ledger} ({names}) VALUES ({pipeline_id}, {load_id}, {table_name},"
    " nullif({cursor}, 'null'), {rows}, {now}, {identity}, {pipeline_name})"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the ledger."""

    pipeline_id: str
    load_id: str
    table: str
    is_table: bool  # whether it names the table that was asked for
    cursor: Cursor | None
    identity: str
    pipeline_name: str

    @property
    def owner(self) -> str:
        """The pipeline, for people."""
        return f"{self.pipeline_name!r} ({self.pipeline_id})" if self.pipeline_name else self.pipeline_id

    def loaded(self, *, table_exists: bool) -> Loaded:
        """Return the entry as the engine knows it."""
        return Loaded(
            load_id=self.load_id,
            cursor=self.cursor,
            identity=self.identity,
            table=self.table,
            table_exists=table_exists,
        )


class Ledger(ABC):
    """The ledger of one schema, file or dataset, within the transaction that is open."""

    types: ClassVar[Mapping[Kind, str]]
    now: ClassVar[str]  # the time of the load, as SQL
    quote: ClassVar[str] = '"'
    same_table: ClassVar[str] = "table_name = {table_name}"  # as the system compares names of tables

    def last(self, pipeline_id: str) -> Loaded | None:
        """Return the pipeline's last committed load; None where there is none."""
        entries = self._entries(_LAST, {"pipeline_id": pipeline_id})
        loads = (entry for entry in entries if entry.load_id)
        return next((entry.loaded(table_exists=self.holds(entry.table)) for entry in loads), None)

    def find(self, pipeline_id: str, table: str) -> list[Entry]:
        """Return the pipeline's own entry, and those of all pipelines that loaded the table."""
        return self._entries(_FIND, {"pipeline_id": pipeline_id, "table_name": table})

    def write(self, table: str, request: LoadRequest) -> None:
        """Make this load the pipeline's last one, and the table its own if it adopts it."""
        cursor = cursor_text(request.cursor)
        self._write(table, request, load_id=request.load_id, cursor=cursor, rows=request.output.rows)

    def claim(self, table: str, request: LoadRequest) -> None:
        """Name the pipeline as the table's owner before there is a load.

        For systems that cannot create a table in the transaction of its first load: a kill in between leaves
        a table that is known as the pipeline's own.
        """
        self._write(table, request, load_id="", cursor="null", rows=0)

    def ensure(self) -> None:
        """Create the ledger if it is missing, and the columns that an older release did not write.

        Some systems cannot do it within a transaction.
        """
        held = self.columns()
        if not held:
            q = self.quote
            self.create(", ".join(f"{q}{name}{q} {self.types[kind]}" for name, kind in COLUMNS.items()))
            return
        for name, kind in COLUMNS.items():
            if name not in held:
                self.add(name, self.types[kind])

    @abstractmethod
    def create(self, definition: str) -> None:
        """Create the table unless another load has just done it."""

    @abstractmethod
    def add(self, column: str, kind: str) -> None:
        """Add a column unless another load has just done it."""

    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Return the names of the ledger's columns; none where there is no ledger."""

    @abstractmethod
    def holds(self, table: str) -> bool:
        """Whether the ledger's schema has a table of the name."""

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

    def _write(self, table: str, request: LoadRequest, *, load_id: str, cursor: str, rows: int) -> None:
        self.ensure()
        own: dict[str, str | int] = {"pipeline_id": request.pipeline_id}
        if request.adopt and not request.shared:
            self._run(_TAKE_OVER, own | {"table_name": table})
        else:
            self._run(_FORGET, own)
        load: dict[str, str | int] = {"load_id": load_id, "table_name": table, "cursor": cursor, "rows": rows}
        names = {"identity": request.identity, "pipeline_name": request.pipeline_name}
        self._run(_WRITE, own | load | names)

    def _entries(self, text: str, values: Mapping[str, str | int]) -> list[Entry]:
        held = self.columns()
        names = [name for name, kind in COLUMNS.items() if name in held and kind != "instant"]
        if not names:
            return []
        rows = self.fetch(self._sql(text, names, values), values)
        return [_entry(dict(zip(names, row, strict=False)), is_table=bool(int(row[-1]))) for row in rows]

    def _run(self, text: str, values: Mapping[str, str | int]) -> None:
        self.execute(self._sql(text, list(COLUMNS), values), values)

    def _sql(self, text: str, names: Sequence[str], values: Mapping[str, str | int]) -> str:
        listed = ", ".join(f"{self.quote}{name}{self.quote}" for name in names)
        marks = {name: self.mark(place, name, value) for place, (name, value) in enumerate(values.items(), 1)}
        same = self.same_table.format(**marks) if "table_name" in marks else ""
        return text.format(ledger=self.name(), names=listed, now=self.now, same_table=same, **marks)


def _entry(row: Mapping[str, Any], *, is_table: bool) -> Entry:
    return Entry(
        pipeline_id=row["pipeline_id"],
        load_id=row["load_id"],
        table=row["table_name"],
        is_table=is_table,
        cursor=json.loads(row["cursor"] or "null"),
        identity=row.get("identity") or "",
        pipeline_name=row.get("pipeline_name") or "",
    )
