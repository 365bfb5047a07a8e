"""Alembic migrations, and the two questions that are asked of them: migrate, and which version is this."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from headrace.store import locks
from headrace.store.database import Database
from headrace.store.locks import AdvisoryLock


def migrate(database: Database) -> None:
    """Bring the schema to the newest version. Processes that do so at once wait for each other."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write() as connection:
        locks.hold(connection, AdvisoryLock.MIGRATIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
