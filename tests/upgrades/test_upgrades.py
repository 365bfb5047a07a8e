"""Homes of earlier versions, migrated by today's code. `make upgrades` takes all, and each statement."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from effort import LONG
from live_platform import running
from old_homes import HOMES, OldHome, archive_of, migrate_until
from sqlalchemy import func, select
from stored import LIMITS

from headrace.records import Page, Role, RunStatus
from headrace.service.execution import execute_run
from headrace.service.pipelines import Pipelines
from headrace.service.platform import Platform
from headrace.store import migrations
from headrace.store.database import Database
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.migrations import migrate
from headrace.store.runs import RunStore
from headrace.store.schema import metadata, run_counts, runs

LARGEST = 200_000  # bytes
STATUSES = {
    "done": RunStatus.SUCCESS,
    "failing": RunStatus.FAILED,
    "incremental": RunStatus.SUCCESS,
    "cancelled": RunStatus.CANCELLED,
    "slow": RunStatus.RUNNING,
    "waiting": RunStatus.PENDING,
}
SECONDS = 60


def test_each_migration_has_a_home_on_both_databases() -> None:
    versions = {path.name[:4] for path in (Path(migrations.__path__[0]) / "versions").glob("[0-9]*.py")}

    homes = {path.name for path in HOMES.iterdir()}

    wanted = {archive_of(version, kind).name for version in versions for kind in ("sqlite", "postgresql")}
    assert homes == wanted, "Make the missing ones by `make homes HOMES=...`: see docs/adr/0012."
    assert all(path.stat().st_size < LARGEST for path in HOMES.iterdir())


def test_everything_that_was_stored_is_there(home: OldHome) -> None:
    platform = Platform.open(home.settings, migrate=True)
    pipelines = Pipelines(platform, platform.owner())

    _, config = pipelines.get_with_config(home.pipeline("done"))
    stored = RunStore(platform.database, platform.organization_id)
    statuses = {name: stored.get(home.run(name)).status for name in STATUSES}
    names = {pipeline.name for pipeline in pipelines.list(Page(limit=50))[0]}

    assert config["source"]["authentication"]["params"]["token"] == home.expected["secret"]
    assert statuses == STATUSES
    assert names == set(home.expected["pipelines"]) - {"deleted"}
    assert pipelines.get(home.pipeline("done")).schedule == "0 3 * * *"
    assert platform.authenticate(home.expected["token"]).role is Role.VIEWER
    assert stored.list(Page(), pipeline_id=home.pipeline("minutely"))[1] >= 1
    assert _counts(platform.database, counted=True) == _counts(platform.database, counted=False)
    platform.close()


def test_runs_in_flight_end(home: OldHome) -> None:
    platform = Platform.open(home.settings, migrate=True)
    upkeep = UpkeepStore(platform.database, LIMITS)

    lost = [run.id for run in upkeep.reap()]
    due = {launch.run_id: launch for launch in upkeep.lease_launches(10)}
    execute_run(
        platform,
        pipeline_id=home.pipeline("waiting"),
        run_id=home.run("waiting"),
        dagster_run_id="new",
        log=logging.getLogger("test.run"),
    )

    stored = RunStore(platform.database, platform.organization_id)
    assert lost == [home.run("slow")]
    assert home.run("waiting") in due
    assert stored.get(home.run("slow")).error_code == "run.worker_lost"
    assert stored.get(home.run("waiting")).status is RunStatus.SUCCESS
    platform.close()


def test_a_migration_that_is_killed_at_any_statement_is_done_by_the_next_start(home: OldHome) -> None:
    total = migrate_until(home, None)
    points = range(1, total + 1) if LONG else [total // 2]

    killed = [migrate_until(home, point) for point in points]
    database = Database(home.settings.sqlalchemy_url)
    migrate(database)

    assert all(code == -signal.SIGKILL for code in killed)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences: Any = compare_metadata(context, metadata)
    assert differences == []
    assert _counts(database, counted=True) == _counts(database, counted=False)
    database.close()


def test_a_home_of_a_newer_version_is_refused_for_good(tmp_path: Path, migrated_sqlite: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "headrace.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{home / 'headrace.db'}")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    environment = os.environ | {"HEADRACE_HOME": str(home), "HEADRACE_CONFIG_DIR": str(tmp_path / "config")}

    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli.prepare"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 78
    assert "9999" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_the_platform_starts_on_it_and_ends_what_was_in_flight(home: OldHome) -> None:
    settings = home.settings
    with running(settings.root, home.folder / "config", database_url=home.database_url) as platform:
        slow = platform.ended_run(str(home.run("slow")), seconds=SECONDS)
        waiting = platform.ended_run(str(home.run("waiting")), seconds=SECONDS)
        again = platform.ended_run(platform.run(str(home.pipeline("failing"))), seconds=SECONDS)

    assert (slow["status"], slow["error_code"]) == ("failed", "run.worker_lost")
    assert waiting["status"] == "success"
    assert again["status"] == "failed"


def _counts(database: Database, *, counted: bool) -> dict[str, int]:
    """Return the number of runs in each state, as the triggers have counted them or as they are."""
    if counted:
        query = select(run_counts.c.status, func.sum(run_counts.c.runs)).group_by(run_counts.c.status)
    else:
        query = select(runs.c.status, func.count()).group_by(runs.c.status)
    with database.read() as connection:
        return {status: int(number) for status, number in connection.execute(query) if number}
