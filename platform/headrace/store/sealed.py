"""Sealed values, wherever they are stored, as a change of keys goes through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, literal, select, update

from headrace.store.database import Database
from headrace.store.schema import hash_keys, idempotency_keys, pipelines


@dataclass(frozen=True, kw_only=True)
class Place:
    """A column of sealed values."""

    table: Table
    column: str
    key_id: str  # the column of the wrapping key's id
    revision: str | None  # the column of the revision that a value is bound to; None: always 1


PLACES = (
    Place(table=pipelines, column="config", key_id="config_key_id", revision="config_revision"),
    Place(table=idempotency_keys, column="answer", key_id="answer_key_id", revision=None),
    Place(table=hash_keys, column="key", key_id="key_key_id", revision=None),
)


@dataclass(frozen=True, kw_only=True)
class SealedValue:
    """One stored value, with what its seal is bound to."""

    row_id: UUID
    organization_id: UUID
    revision: int
    sealed: bytes


class SealedValues:
    """The sealed values of all organizations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_other_keys(
        self, place: Place, key_id: str, *, after: UUID | None, limit: int
    ) -> Sequence[SealedValue]:
        """Return values that another key wraps, by row id; `after` is the last row of the batch before."""
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
        """Put newly wrapped values, with their keys' ids, in the place of the old ones; return how many.

        A compare-and-set of the value itself: one that was written meanwhile stays as it is.
        """
        columns = place.table.c
        replaced = 0
        with self._database.write() as connection:
            for value, sealed, key_id in changes:
                unchanged = (columns.id == value.row_id) & (columns[place.column] == value.sealed)
                new = {place.column: sealed, place.key_id: key_id}
                replaced += connection.execute(update(place.table).where(unchanged).values(new)).rowcount
        return replaced
