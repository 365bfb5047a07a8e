"""Times in which the database answers nobody, or refuses all: nobody dies of them."""

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from stored import LIMITS, store_pipeline

from headrace.records import Run, RunPhase, RunStatus
from headrace.store import postgres, steadiness
from headrace.store.database import Database, DatabaseUnavailable
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.slots import SlotStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    return LeaseStore(database, timedelta(seconds=15))


@pytest.fixture
def expired(database: Database, organization_id: UUID, leases: LeaseStore) -> Run:
    """A running run whose worker could not renew its lease."""
    pipeline = store_pipeline(database, organization_id, schedule="* * * * *")
    run = leases.claim(RunStore(database, organization_id).create(pipeline.id).id, "d").run
    with database.write() as connection:
        connection.execute(update(runs).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))
    return run


def test_after_an_outage_a_living_worker_gets_time_to_renew(
    database: Database, expired: Run, leases: LeaseStore
) -> None:
    database.steadiness.break_off()

    reaped = UpkeepStore(database, LIMITS).reap()

    assert reaped == []
    assert leases.renew(expired, phase=RunPhase.EXTRACT, rows=1, bytes_=1)


def test_a_slot_that_comes_right_after_an_outage_ends_no_run(
    database: Database, expired: Run, leases: LeaseStore
) -> None:
    database.steadiness.break_off()
    slot = datetime.now(UTC).replace(second=0, microsecond=0)

    SlotStore(database).take(expired.pipeline_id, slot)

    assert leases.status(expired.id) is RunStatus.RUNNING


def test_a_worker_that_does_not_renew_after_an_outage_is_lost(
    database: Database, expired: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "RENEWAL_SECONDS", 0.2)
    database.steadiness.break_off()
    time.sleep(0.3)

    reaped = UpkeepStore(database, LIMITS).reap()

    assert [run.id for run in reaped] == [expired.id]


def test_a_statement_that_waited_for_a_frozen_database_is_a_break(
    database: Database, expired: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "SLOW_SECONDS", -1.0)

    assert UpkeepStore(database, LIMITS).reap() == []


def test_an_error_that_may_pass_is_a_break(database: Database, backend: str) -> None:
    before = database.steadiness.holds()

    with pytest.raises(DatabaseUnavailable), database.write() as connection:
        refuse_writes(connection, backend)

    assert (before, database.steadiness.holds()) == (True, False)


def test_a_jump_of_the_databases_clock_is_a_break() -> None:
    watch = steadiness.Steadiness()
    now = datetime.now(UTC)
    watch.saw(now)
    watch.saw(now + timedelta(seconds=1))
    before = watch.holds()

    watch.saw(now + timedelta(seconds=60))

    assert (before, watch.holds()) == (True, False)


def refuse_writes(connection: Any, backend: str) -> None:
    if backend == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql("DELETE FROM runs")
    else:
        connection.exec_driver_sql("PRAGMA query_only = ON")
        try:
            connection.exec_driver_sql("DELETE FROM runs")
        finally:
            connection.exec_driver_sql("PRAGMA query_only = OFF")


class TestPostgreSQL:
    """What only a server on a network can do."""

    @pytest.fixture
    def backend(self) -> str:
        return "postgresql"

    def test_a_statement_that_takes_too_long_is_given_up_by_the_server(
        self, migrated_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "_SET_UP", "SET statement_timeout = 200")
        database = Database(migrated_url)

        with pytest.raises(DatabaseUnavailable), database.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(20)")
        database.close()

    def test_a_server_that_falls_silent_is_given_up_by_the_driver(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres.BoundedConnection, "seconds", 0.5)
        began = time.monotonic()

        with pytest.raises(DatabaseUnavailable), database.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(20)")
        gave_up_after = time.monotonic() - began

        assert gave_up_after < 5
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1

    def test_a_migration_takes_the_time_that_it_needs(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres.BoundedConnection, "seconds", 0.5)

        with database.write_at_length() as connection:
            assert connection.exec_driver_sql("SELECT 1 FROM pg_sleep(1)").scalar() == 1

    def test_a_server_that_accepts_and_never_answers_is_given_up(self, silent_url: str) -> None:
        database = Database(silent_url)
        began = time.monotonic()

        with pytest.raises(DatabaseUnavailable), database.read():
            pass

        assert time.monotonic() - began < 12
        database.close()

    @pytest.fixture
    def silent_url(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/db"
