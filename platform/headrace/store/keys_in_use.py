"""Which encryption keys the stored rows need."""

from collections import Counter

from sqlalchemy import func, select

from headrace.store.database import Database
from headrace.store.schema import hash_keys, idempotency_keys, pipelines

KEY_COLUMNS = (pipelines.c.config_key_id, idempotency_keys.c.answer_key_id, hash_keys.c.key_key_id)


def rows_by_key(database: Database) -> dict[str, int]:
    """Return how many stored values each key wraps; keys that wrap none are left out."""
    found: Counter[str] = Counter()
    with database.read() as connection:
        for column in KEY_COLUMNS:
            query = select(column, func.count()).where(column.is_not(None)).group_by(column)
            found.update({row[0]: row[1] for row in connection.execute(query)})
    return dict(found)


def key_ids_in_use(database: Database) -> frozenset[str]:
    """Return the ids of all keys that wrap a stored value."""
    return frozenset(rows_by_key(database))
