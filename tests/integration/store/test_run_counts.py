"""The counts of runs equal the runs, whatever has happened to them, and who did it at the same time."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import TextClause, delete, func, insert, select, text
from stored import LIMITS, columns, store_pipeline

from headrace.errors import HeadraceError
from headrace.records import Page, RunStatus, TriggeredBy
from headrace.store import migrations
from headrace.store.database import Database
from headrace.store.lifecycle.leases import Claim, Ending, LeaseStore
from headrace.store.lifecycle.retention import Keep, RetentionStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.pipelines import PipelineStore
from headrace.store.runs import RunStore, pending_run
from headrace.store.schema import pipelines, run_counts, runs
from headrace.store.tokens import Installation

ONE = Page(limit=1, offset=0)
SUCCESS = Ending(status=RunStatus.SUCCESS)
FAILED = Ending(status=RunStatus.FAILED, error_code="source.failed", error="No.")


class World:
    """Pipelines and runs to which anything may happen, one random thing after another."""

    def __init__(self, database: Database, organization_id: UUID, seed: int) -> None:
        self.database = database
        self.random = random.Random(seed)
        self.pipelines = PipelineStore(database, organization_id)
        self.runs = RunStore(database, organization_id)
        self.leases = LeaseStore(database, timedelta(seconds=-1))  # a claim is lost unless it ends at once
        self.upkeep = UpkeepStore(database, LIMITS)
        self.retention = RetentionStore(database, Keep(age=None, newest=1, most=3))
        self.ids = [self.pipelines.create(uuid4(), columns()).id for _ in range(4)]
        self.claims: list[Claim] = []
        self.deleted: list[UUID] = []

    def step(self) -> None:
        """Let one thing happen; what cannot happen now is refused."""
        happens = (
            *[self.trigger] * 4,
            *[self.claim] * 4,
            *[self.end] * 3,
            self.cancel,
            self.upkeep.reap,
            self.forget,
            self.replace,
            self.purge,
            self.prune,
        )
        with suppress(HeadraceError):
            self.random.choice(happens)()

    def trigger(self) -> None:
        self.runs.create(self.random.choice(self.ids))

    def claim(self) -> None:
        newest = self.runs.list(ONE, pipeline_id=self.random.choice(self.ids))[0]
        self.claims.append(self.leases.claim(newest[0].id if newest else uuid4(), "dagster"))

    def end(self) -> None:
        if self.claims:
            ending = self.random.choice((SUCCESS, FAILED))
            self.leases.end(self.random.choice(self.claims[-4:]).run, ending)

    def cancel(self) -> None:
        newest = self.runs.list(ONE, pipeline_id=self.random.choice(self.ids))[0]
        self.runs.cancel(newest[0].id if newest else uuid4())

    def forget(self) -> None:
        self.upkeep_stops()
        self.retention.forget([run.run_id for run in self.retention.expired(self.random.randint(1, 5))])

    def upkeep_stops(self) -> None:
        for stop in self.upkeep.lease_stops(10):
            self.upkeep.stopped(stop.id)

    def replace(self) -> None:
        at = self.random.randrange(len(self.ids))
        self.pipelines.delete(self.ids[at])
        self.deleted.append(self.ids[at])
        self.ids[at] = self.pipelines.create(uuid4(), columns()).id

    def purge(self) -> None:
        if self.deleted:
            self.upkeep.purged(self.deleted.pop())

    def prune(self) -> None:
        """Let a pipeline's row go with all that hangs on it."""
        if self.deleted:
            with self.database.write() as connection:
                connection.execute(delete(pipelines).where(pipelines.c.id == self.deleted.pop()))


def kept(database: Database) -> dict[tuple[UUID, str], int]:
    with database.read() as connection:
        found = connection.execute(select(run_counts).where(run_counts.c.runs != 0))
        return {(row.pipeline_id, row.status): row.runs for row in found}


def counted(database: Database) -> dict[tuple[UUID, str], int]:
    query = select(runs.c.pipeline_id, runs.c.status, func.count().label("number"))
    with database.read() as connection:
        found = connection.execute(query.group_by(runs.c.pipeline_id, runs.c.status))
        return {(row.pipeline_id, row.status): row.number for row in found}


def listed(store: RunStore, pipeline_id: UUID | None, status: RunStatus | None) -> tuple[int, int]:
    """Return how many runs a list says there are, and how many all its pages have."""
    total = store.list(ONE, pipeline_id=pipeline_id, status=status)[1]
    everything = Page(limit=1000, offset=0)
    return total, len(store.list(everything, pipeline_id=pipeline_id, status=status)[0])


@pytest.mark.parametrize("seed", [1, 2])
def test_counts_equal_runs_after_each_of_many_random_changes(
    database: Database, organization_id: UUID, seed: int
) -> None:
    world = World(database, organization_id, seed)

    for _ in range(250):
        world.step()

        assert kept(database) == counted(database)
    of: Sequence[UUID | None] = [None, *world.ids]
    statuses: Sequence[RunStatus | None] = [None, *RunStatus]
    totals = [listed(world.runs, pipeline_id, status) for pipeline_id in of for status in statuses]
    assert all(total == there for total, there in totals)
    assert totals[0][0] > 0


def test_counts_equal_runs_after_many_have_changed_them_at_once(
    database: Database, organization_id: UUID
) -> None:
    worlds = [World(database, organization_id, seed) for seed in range(4)]
    shared = worlds[0].ids
    for world in worlds:
        world.ids = shared

    def live(world: World) -> None:
        for _ in range(60):
            world.step()

    with ThreadPoolExecutor(len(worlds)) as pool:
        list(pool.map(live, worlds))

    assert counted(database)
    assert kept(database) == counted(database)


def test_runs_that_one_statement_stores_are_all_counted(database: Database, organization_id: UUID) -> None:
    made = [store_pipeline(database, organization_id).id for _ in range(3)]
    now = datetime.now(UTC)

    with database.write() as connection:
        rows = [
            pending_run(organization_id, made[number % 3], TriggeredBy.MANUAL, now) | {"status": "success"}
            for number in range(300)
        ]
        connection.execute(insert(runs).values(rows))

    assert kept(database) == {(pipeline_id, "success"): 100 for pipeline_id in made}


def test_the_migration_counts_the_runs_that_there_are(database_url: str) -> None:
    database = Database(database_url)
    migrate_to(database, "0003")
    organization_id = Installation(database).organization()
    pipeline_id = uuid4()
    of = {"pipeline": pipeline_id.hex, "organization": organization_id.hex}
    with database.write() as connection:
        connection.execute(_pipeline_of_version_3(), of)
        for status in ("cancelled", "cancelled", "cancelled", "pending"):
            connection.execute(_run_of_version_3(), of | {"id": uuid4().hex, "status": status})

    migrations.migrate(database)

    store = RunStore(database, organization_id)
    assert kept(database) == {(pipeline_id, "cancelled"): 3, (pipeline_id, "pending"): 1}
    assert listed(store, pipeline_id, None) == (4, 4)
    database.close()


def _pipeline_of_version_3() -> TextClause:
    return text(
        "INSERT INTO pipelines (id, organization_id, name, source, stream, destination, sync_mode, timezone, "
        "enabled, revision, sequence, config_revision, created_at) "
        "VALUES (:pipeline, :organization, 'Orders', "
        "'postgres', 'orders', 'duckdb', 'full_refresh', 'UTC', true, 1, 1, 1, '2026-01-01')"
    )


def _run_of_version_3() -> TextClause:
    return text(
        "INSERT INTO runs (id, organization_id, pipeline_id, status, triggered_by, attempt, created_at, "
        "launches, fence) VALUES (:id, :organization, :pipeline, :status, 'manual', 1, "
        "'2026-01-01', 0, 0)"
    )


def migrate_to(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
