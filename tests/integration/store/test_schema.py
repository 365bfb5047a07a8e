import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from headrace.service.platform import Platform
from headrace.store import migrations
from headrace.store.database import Database
from headrace.store.schema import VERSION, metadata
from headrace.store.versions import NewerSchema


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


@pytest.mark.parametrize("migrate", [True, False])
def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(
    platform: Platform, migrate: bool
) -> None:
    with platform.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(NewerSchema) as raised:
        Platform.open(platform.settings, migrate=migrate)

    assert raised.value.exit_code == 78
    with platform.database.read() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"
