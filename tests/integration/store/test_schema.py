import subprocess
import sys
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from headrace.store import migrations
from headrace.store.database import Database
from headrace.store.schema import VERSION, metadata


def test_migrations_make_the_schema_that_the_stores_use(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        differences: Any = compare_metadata(context, metadata)

    assert differences == []


def test_the_version_that_processes_ask_for_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(migrations.__path__[0])

    assert scripts.get_current_head() == VERSION


def test_processes_that_migrate_at_once_wait_for_each_other(database_url: str) -> None:
    migrating = "import sys; from headrace.store import database, migrations; "
    migrating += "migrations.migrate(database.Database(sys.argv[1]))"

    processes = [subprocess.Popen([sys.executable, "-c", migrating, database_url]) for _ in range(3)]
    codes = [process.wait(timeout=60) for process in processes]

    assert codes == [0, 0, 0]
    database = Database(database_url)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT sequence FROM catalogue").scalars().all() == [0]
    database.close()
