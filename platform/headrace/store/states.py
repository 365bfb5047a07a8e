"""Stored sync state: the platform's copy of how far each pipeline has read.

The destination's own record, written in the transaction of the data, comes first; the copy serves
destinations that keep none, and clients. What a client demands is followed once, by the next run that
succeeds.
"""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select

from headrace.records import State, StateDemand
from headrace.store.database import Database
from headrace.store.schema import states
from headrace.store.scoped import Scoped, replace_row


class StateStore(Scoped):
    """The states of one organization's pipelines."""

    def get(self, pipeline_id: UUID) -> State:
        """Return the pipeline's state, empty where it has read nothing. Raises PipelineNotFound."""
        with self._database.read() as connection:
            self._pipeline(connection, pipeline_id)
            return state_of(connection, pipeline_id)

    def demand(self, pipeline_id: UUID, demand: StateDemand, cursor: Any) -> State:
        """Have the next run start after `cursor`, or from the start. Raises PipelineNotFound."""
        with self._database.write() as connection:
            self._pipeline(connection, pipeline_id, lock=True)
            row = {
                "pipeline_id": pipeline_id,
                "organization_id": self._organization_id,
                "cursor": None if cursor is None else json.dumps(cursor),
                "load_id": None,
                "demand": demand,
                "identity": None,
                "updated_at": self._database.now(connection),
            }
            replace_row(connection, states, row)
            return state_of(connection, pipeline_id)


class RunStates:
    """What a worker reads; what it writes goes with the run's result (`LeaseStore.end`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, pipeline_id: UUID) -> State:
        """Return the pipeline's state, empty where it has read nothing."""
        with self._database.read() as connection:
            return state_of(connection, pipeline_id)


def state_of(connection: Connection, pipeline_id: UUID) -> State:
    """Return the state that is stored for a pipeline; an empty one where none is."""
    row = connection.execute(select(states).where(states.c.pipeline_id == pipeline_id)).one_or_none()
    return State() if row is None else _state_of(row)


def _state_of(row: Row[Any]) -> State:
    return State(
        cursor=None if row.cursor is None else json.loads(row.cursor),
        load_id=row.load_id,
        demand=StateDemand(row.demand) if row.demand else None,
        identity=row.identity or "",
        updated_at=row.updated_at,
    )
