"""A real store in a SQLite file, and a Dagster in memory."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import update
from stored import LIMITS, store_pipeline

from headrace.store.database import Database
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs
from headrace.store.tokens import Installation


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'records.db')}")
    yield opened
    opened.close()


@pytest.fixture
def organization_id(database: Database) -> UUID:
    """The organization of a fresh installation."""
    return Installation(database).organization()


@pytest.fixture
def store(database: Database, organization_id: UUID) -> RunStore:
    """The runs as a client sees them."""
    return RunStore(database, organization_id)


@pytest.fixture
def pipeline_id(database: Database, organization_id: UUID) -> UUID:
    """A stored pipeline."""
    return store_pipeline(database, organization_id).id


@pytest.fixture
def upkeep(database: Database) -> UpkeepStore:
    """The due work of the loops."""
    return UpkeepStore(database, LIMITS)


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    """The leases of workers."""
    return LeaseStore(database, timedelta(seconds=15))


@pytest.fixture
def dagster() -> FakeDagster:
    """A Dagster that works."""
    return FakeDagster()


@pytest.fixture
def make_due(database: Database) -> Callable[[], None]:
    """Let all leases and delays of launches and stops expire."""

    def run_out() -> None:
        past = datetime.now(UTC) - timedelta(hours=1)
        with database.write() as connection:
            connection.execute(update(runs).where(runs.c.launch_at.is_not(None)).values(launch_at=past))
            connection.execute(update(runs).where(runs.c.stop_at.is_not(None)).values(stop_at=past))

    return run_out
