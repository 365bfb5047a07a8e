"""Migrations of the schema by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from headrace.store.database import AdvisoryLock, Database, hold_lock
from headrace.store.schema import VERSION
from headrace.store.versions import NewerSchema


def migrate(database: Database) -> None:
    """Migrate the schema to the newest version. Concurrent processes wait for each other.

    Raises NewerSchema, having changed nothing.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with database.write_at_length() as connection:
        hold_lock(connection, AdvisoryLock.MIGRATIONS)
        config.attributes["connection"] = connection
        _require_known(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")


def _require_known(connection: Connection, scripts: ScriptDirectory) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise NewerSchema(f"The database is at version {found}; this Headrace knows none after {VERSION}.")
