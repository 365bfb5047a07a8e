"""Migrations of the schema by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from headrace.store import locks
from headrace.store.database import Database
from headrace.store.locks import AdvisoryLock


def migrate(database: Database) -> None:
    """Migrate the schema to the newest version. Concurrent processes wait for each other."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write() as connection:
        locks.hold(connection, AdvisoryLock.MIGRATIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
