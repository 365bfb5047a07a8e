"""Stored sync states: the platform's copy of how far each pipeline has read.

A destination's own record takes precedence, because it is written in the same transaction as the data. The
copy is for destinations without a record, and for clients. What a client demands applies to the next run that
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
        """Return the pipeline's state, empty if it has read nothing. Raises PipelineNotFound."""
        with self._database.read() as connection:
            self._pipeline(connection, pipeline_id)
            return state_of(connection, pipeline_id)

    def demand(self, pipeline_id: UUID, demand: StateDemand, cursor: Any) -> State:
        """Make the next run start after `cursor`, or from the start. Raises PipelineNotFound."""
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
    """The states that workers read. They write them with the run's result, in `LeaseStore.end`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, pipeline_id: UUID) -> State:
        """Return the pipeline's state, empty if it has read nothing."""
        with self._database.read() as connection:
            return state_of(connection, pipeline_id)


def state_of(connection: Connection, pipeline_id: UUID) -> State:
    """Return the stored state of a pipeline, empty if there is none."""
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
