"""Dagster's storage, beside the platform's records: SQLite in the home folder, or a schema in PostgreSQL.

`dagster.yaml` names a class of ours as the `custom` storage. So no file of Dagster holds the database's
address with its password: each process takes the address from the platform's settings.
"""

import fcntl
from typing import Any, ClassVar

from dagster import DagsterInstance
from sqlalchemy import create_engine, make_url, text

from headrace.settings import Settings
from headrace.store.database import AdvisoryLock, hold_lock
from headrace_dagster.installation import settings
from headrace_dagster.private.custom_storage import CustomStorage, Storage
from headrace_dagster.private.sqlite_storage import EmbeddedStorage, sweep

SCHEMA = "dagster"
"""Dagster and Headrace both have a table `runs`, so in one database each needs a schema."""

_POOLED = {"statement_timeout": 60_000, "pool_recycle": 3600, "max_overflow": 20}
"""Keep connections open, one for each part of the storage. Dagster makes a new one each time."""

_BOUNDS = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Of the driver, which alone would wait for a server that is gone, or frozen, without an end."""
_OPTIONS = (
    f"-csearch_path={SCHEMA} -ctimezone=UTC -cstatement_timeout=60000 -clock_timeout=30000"
    " -cidle_in_transaction_session_timeout=60000"
)
"""Of the server: for connections that Dagster makes outside of its pools, too.

UTC, because Dagster stores the time of a new run as the session's local time, and reads it as UTC.
"""


class PlatformStorage(CustomStorage):
    """Makes the storage of this installation.

    A process sets `is_made` when it knows that the tables exist and fit this version of Dagster.
    """

    is_made: ClassVar[bool] = False

    @classmethod
    def open(cls, inst_data: Any) -> Storage:
        """Return the storage of this process's installation."""
        if settings().is_embedded:
            return EmbeddedStorage(str(settings().dagster_home), inst_data, is_made=cls.is_made)
        # Imported here: the embedded default needs no second PostgreSQL driver in memory.
        from dagster_postgres import DagsterPostgresStorage

        storage = DagsterPostgresStorage(
            postgres_url(settings()), should_autocreate_tables=not cls.is_made, inst_data=inst_data
        )
        for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            part.optimize_for_webserver(**_POOLED)
        return storage


def postgres_url(settings: Settings) -> str:
    """Return the URL of the records' database for psycopg2, with Dagster's schema and bounds on waiting."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql+psycopg2")
    url = url.update_query_dict({"options": _OPTIONS, **_BOUNDS})
    return url.render_as_string(hide_password=False)


def prepare_storage(settings: Settings) -> None:
    """Make Dagster's tables unless they exist, one process at a time.

    Without the lock, processes that start together on a new SQLite file migrate it at once and corrupt it.
    """
    _make_schema(settings)
    lock = settings.dagster_home / ".storage.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if settings.is_embedded:
            sweep(settings.dagster_home)
        with DagsterInstance.get() as instance:
            instance.get_runs(limit=1)
    # Dagster opens its storage again at each launch, and would check the tables each time.
    PlatformStorage.is_made = True


def _make_schema(settings: Settings) -> None:
    if settings.is_embedded:
        return
    engine = create_engine(postgres_url(settings), hide_parameters=True)
    try:
        with engine.begin() as connection:
            # Processes that start together on a new database would both try, and one would fail.
            hold_lock(connection, AdvisoryLock.DAGSTER_SCHEMA)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    finally:
        engine.dispose()
