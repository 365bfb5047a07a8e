"""Dagster's storage, beside the platform's records: SQLite in the home folder, or a schema in PostgreSQL.

A class of our own, which Dagster names `custom`, so that the database's address, with its password, is in no
file and no environment that Dagster keeps: each process takes it from the platform's settings.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy import create_engine, make_url, text

from headrace.settings import Settings
from headrace_dagster.embedded_storage import EmbeddedStorage
from headrace_dagster.installation import settings

SCHEMA = "dagster"
"""Both have a table `runs`: in one database they need a schema each."""


_POOLED = {"statement_timeout": 60_000, "pool_recycle": 3600, "max_overflow": 20}
"""Connections that are kept, one for each of the three parts: stock Dagster makes a new one each time."""


class PlatformStorage(DagsterStorage, ConfigurableClass):  # abstract: only what it makes is ever used
    """Makes the storage that belongs to the installation; takes no configuration.

    With `is_made`, which a process says that knows it, the tables are there and of this version of Dagster.
    """

    is_made: ClassVar[bool] = False

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Nothing: what `from_config_value` makes is not of this class."""
        return None

    @classmethod
    def config_type(cls) -> Any:
        """Return the schema of an empty configuration."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]  # Dagster wants any storage, not this very class
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> DagsterStorage:
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
    """Return the records' database with Dagster's own schema as the search path, for psycopg2."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql+psycopg2")
    url = url.update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return url.render_as_string(hide_password=False)


def make_schema(settings: Settings) -> None:
    """Make Dagster's schema unless it is there; nothing to do on SQLite."""
    if settings.is_embedded:
        return
    engine = create_engine(postgres_url(settings), hide_parameters=True)
    try:
        with engine.begin() as connection:
            # Processes that start at once on a new database would otherwise both try, and one fail.
            connection.execute(text("SELECT pg_advisory_xact_lock(4242200723)"))
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    finally:
        engine.dispose()
