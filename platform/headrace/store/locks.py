"""Advisory locks of PostgreSQL, each held until the end of its transaction.

SQLite needs none, because its writers take turns.
"""

from enum import IntEnum

from sqlalchemy import BigInteger, Connection, func, literal, select


class AdvisoryLock(IntEnum):
    """The numbers of the locks; other users of the same database should not take them."""

    MIGRATIONS = 4242200721
    LAUNCHES = 4242200722
    DAGSTER_SCHEMA = 4242200723


def hold(connection: Connection, lock: AdvisoryLock) -> None:
    """Wait for the lock and hold it until the transaction ends. Does nothing on SQLite."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(literal(lock.value, BigInteger))))
