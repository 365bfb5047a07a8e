"""Which encryption keys the stored rows need."""

from sqlalchemy import select

from headrace.store.database import Database
from headrace.store.schema import idempotency_keys, pipelines


def key_ids_in_use(database: Database) -> frozenset[str]:
    """Return the ids of all keys that wrap a stored value."""
    columns = (pipelines.c.config_key_id, idempotency_keys.c.answer_key_id)
    with database.read() as connection:
        found = [
            key_id
            for column in columns
            for key_id in connection.execute(select(column).where(column.is_not(None)).distinct()).scalars()
        ]
    return frozenset(found)
