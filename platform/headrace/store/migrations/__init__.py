"""Migrations of the schema by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from headrace.store.database import AdvisoryLock, Database, hold_lock


def migrate(database: Database) -> None:
    """Migrate the schema to the newest version. Concurrent processes wait for each other."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write() as connection:
        hold_lock(connection, AdvisoryLock.MIGRATIONS)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
