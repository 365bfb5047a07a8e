"""Which columns hold sealed values, which keys wrap those, and the change to another key."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Table, func, literal, select, update

from headrace.encryption.envelope import Binding
from headrace.store.database import Database
from headrace.store.schema import hash_keys, idempotency_keys, pipelines


@dataclass(frozen=True, kw_only=True)
class Place:
    """A column of sealed values."""

    table: Table
    column: str
    key_id: str  # the column of the wrapping key's id
    revision: str | None  # the column of the revision that a value is bound to; None: always 1

    def binding(self, organization_id: UUID, row_id: UUID, revision: int = 1) -> Binding:
        """Return what a value in this column of a row is bound to."""
        return Binding(
            table=self.table.name,
            column=self.column,
            organization_id=organization_id,
            row_id=row_id,
            revision=revision,
        )


CONFIG = Place(table=pipelines, column="config", key_id="config_key_id", revision="config_revision")
ANSWER = Place(table=idempotency_keys, column="answer", key_id="answer_key_id", revision=None)
HASH_KEY = Place(table=hash_keys, column="key", key_id="key_key_id", revision=None)
PLACES = (CONFIG, ANSWER, HASH_KEY)


@dataclass(frozen=True, kw_only=True)
class SealedConfig:
    """A pipeline's config as stored."""

    sealed: bytes
    key_id: str
    revision: int  # the pipeline's revision to which the sealed value is bound


def sealed_config(row: Row[Any]) -> SealedConfig:
    """Return the sealed config in a row of `pipelines`."""
    return SealedConfig(sealed=row.config, key_id=row.config_key_id, revision=row.config_revision)


@dataclass(frozen=True, kw_only=True)
class SealedValue:
    """A stored value, with what it is bound to."""

    row_id: UUID
    organization_id: UUID
    revision: int
    sealed: bytes


def rows_by_key(database: Database) -> dict[str, int]:
    """Return how many stored values each key wraps, without the keys that wrap none."""
    found: Counter[str] = Counter()
    with database.read() as connection:
        for place in PLACES:
            column = place.table.c[place.key_id]
            query = select(column, func.count()).where(column.is_not(None)).group_by(column)
            found.update({row[0]: row[1] for row in connection.execute(query)})
    return dict(found)


def key_ids_in_use(database: Database) -> frozenset[str]:
    """Return the ids of all keys that wrap a stored value."""
    return frozenset(rows_by_key(database))


class SealedValues:
    """The sealed values of all organizations, for a change to another key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_other_keys(
        self, place: Place, key_id: str, *, after: UUID | None, limit: int
    ) -> Sequence[SealedValue]:
        """Return values that another key wraps, by row id. `after` is the last row of the previous batch."""
        columns = place.table.c
        revision: ColumnElement[Any] = columns[place.revision] if place.revision else literal(1)
        query = (
            select(columns.id, columns.organization_id, revision, columns[place.column])
            .where(columns[place.key_id] != key_id)
            .order_by(columns.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(columns.id > after)
        with self._database.read() as connection:
            return [
                SealedValue(row_id=row[0], organization_id=row[1], revision=row[2], sealed=row[3])
                for row in connection.execute(query)
            ]

    def replace(self, place: Place, changes: Sequence[tuple[SealedValue, bytes, str]]) -> int:
        """Replace values by newly wrapped ones with their keys' ids; return how many were replaced.

        This is a compare-and-set: a value that was written in the meantime is kept.
        """
        columns = place.table.c
        replaced = 0
        with self._database.write() as connection:
            for value, sealed, key_id in changes:
                unchanged = (columns.id == value.row_id) & (columns[place.column] == value.sealed)
                new = {place.column: sealed, place.key_id: key_id}
                replaced += connection.execute(update(place.table).where(unchanged).values(new)).rowcount
        return replaced
