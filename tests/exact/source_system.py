"""What a source of a history is: one table in one system, changed by hand and never through Headrace."""

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from cursor_forms import FORMS
from history_steps import Change, Mode, Plan
from model import Row, Table, coerced
from servers import Servers

ALTERS = frozenset({"Drop", "Rename", "Retype"})
ARROW = {
    "integer": pa.int64(), "small": pa.int64(), "boolean": pa.bool_(), "double": pa.float64(),
    "decimal": pa.decimal128(30, 6), "text": pa.string(), "date": pa.date32(),
    "timestamp": pa.timestamp("us"), "moment": pa.timestamp("us", "UTC"), "json": pa.string(),
    "bytes": pa.binary(), "nothing": pa.null(),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a history's systems are."""

    folder: Path
    connectors: Path  # the platform's folder of connectors
    servers: Servers


class SourceSystem:
    """One table in one system."""

    name: ClassVar[str]
    lacks: ClassVar[frozenset[str]]
    """Kinds of values that the system cannot hold."""

    is_database: ClassVar[bool] = False
    has_types: ClassVar[bool] = False  # one for each kind but JSON
    has_cursor: ClassVar[bool] = True  # incremental runs follow a field
    has_transactions: ClassVar[bool] = False  # and one can stay open
    tells_apart: ClassVar[bool] = False  # whatever its looks, the source knows whether a row is new
    by_file: ClassVar[bool] = False
    is_paged: ClassVar[bool] = False

    def __init__(self, place: Place, plan: Plan) -> None:
        self.place, self.plan = place, plan
        self.is_changed = True

    @classmethod
    def alters(cls, mode: Mode) -> frozenset[str]:
        """Return which changes of columns a history of the mode may have, beside new ones."""
        return ALTERS

    def config(self) -> dict[str, Any]:
        """Return the pipeline's `source`."""
        return {}

    def create(self, table: Table) -> None:
        """Make the empty table."""

    def note(self, table: Table, step: Change) -> None:
        """Take a change before the table has it."""
        self.is_changed = True

    def write(self, table: Table) -> None:
        """Bring the system to the table's state."""
        if self.is_changed:
            self.write_all(table)
            self.is_changed = False

    def write_all(self, table: Table) -> None:
        """Write the whole table."""

    def meanwhile(self, table: Table, rows: dict[int, Row]) -> None:
        """Write rows while the next run reads."""
        raise NotImplementedError

    def begin(self, table: Table, rows: dict[int, Row]) -> None:
        """Write rows in a transaction that stays open."""
        raise NotImplementedError

    def commit(self) -> None:
        """Commit it."""
        raise NotImplementedError

    def nulled(self, table: Table, rows: Iterable[Row]) -> int:
        """Return how many of the rows hold a value that Arrow has no place for, and that arrives as null."""
        return 0

    def close(self) -> None:
        """Remove what was made; the folder goes with the history."""

    @property
    def key(self) -> list[str]:
        """The primary key, where rows are merged."""
        return ["id"] if self.plan.mode == "merge" else []

    def sync_by_field(self) -> dict[str, Any]:
        """Return the keys of a pipeline that follows a field."""
        if not self.plan.is_incremental:
            return {}
        keys: dict[str, Any] = {"sync_mode": "incremental", "cursor_field": "changed"}
        if self.plan.lookback:
            keys["lookback"] = FORMS[self.plan.cursor].span(self.plan.lookback)
        return keys


def plain(table: Table, row: Row) -> dict[str, Any]:
    """Return a row as JSON: what JSON has no form for as the text that people write."""
    found = {}
    for key, column in table.columns.items():
        value = row.get(key)
        if column.kind == "json" and value is not None:
            value = json.loads(value)
        elif isinstance(value, Decimal | dt.date):
            value = format(value, "f") if isinstance(value, Decimal) else value.isoformat()
        found[column.name] = value
    return found


def arrow(table: Table, rows: list[Row]) -> pa.Table:
    """Return rows as an Arrow table in the columns' types."""
    schema = pa.schema([(column.name, ARROW[column.kind]) for column in table.columns.values()])
    named = [
        {column.name: coerced(row.get(key), column.kind) for key, column in table.columns.items()}
        for row in rows
    ]
    return pa.Table.from_pylist(named, schema)
