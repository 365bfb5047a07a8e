"""Clocks that jump: no run is held, and no healthy one is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, select
from stored import LIMITS, store_pipeline

from headrace.records import Policy, Run, RunPhase, RunStatus
from headrace.store import steadiness
from headrace.store.database import Database
from headrace.store.lifecycle.failures import SETTLED, fail
from headrace.store.lifecycle.leases import Ending, LeaseStore
from headrace.store.lifecycle.queue import Limits
from headrace.store.lifecycle.upkeep import LAUNCH_LEASE, UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs

HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=15)


class JumpingDatabase(Database):
    """A database whose clock a test moves."""

    ahead = timedelta()

    def now(self, connection: Connection) -> datetime:
        now = datetime.now(UTC) + self.ahead
        self.steadiness.saw(now)
        return now


@pytest.fixture
def database(migrated_url: str) -> Iterator[JumpingDatabase]:
    opened = JumpingDatabase(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def pipeline_id(database: Database, organization_id: UUID) -> UUID:
    return store_pipeline(database, organization_id).id


@pytest.fixture
def pending(database: Database, organization_id: UUID, pipeline_id: UUID) -> Run:
    return RunStore(database, organization_id).create(pipeline_id)


@pytest.fixture
def upkeep(database: Database) -> UpkeepStore:
    return UpkeepStore(database, Limits(total=1))


def launched(upkeep: UpkeepStore) -> list[UUID]:
    return [launch.run_id for launch in upkeep.lease_launches(10)]


def test_a_waiting_run_is_launched_at_once_after_the_clock_was_set_back(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore
) -> None:
    database.ahead = -HOUR

    rounds = [launched(upkeep), launched(upkeep)]

    assert rounds == [[pending.id], []]  # once: the second dispatcher finds the first one's lease


def test_a_launch_that_a_dispatcher_had_is_repeated_after_the_clock_was_set_back(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore
) -> None:
    launched(upkeep)
    database.ahead = -HOUR

    assert launched(upkeep) == [pending.id]


def test_a_launch_that_was_to_be_retried_is_retried_after_the_clock_was_set_back(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore
) -> None:
    launched(upkeep)
    upkeep.launch_failed(pending.id, 8)
    early = launched(upkeep)
    database.ahead = -HOUR

    assert (early, launched(upkeep)) == ([], [pending.id])


def test_the_delay_before_another_attempt_is_kept_and_ends_when_the_clock_is_set_back(
    database: JumpingDatabase, organization_id: UUID, upkeep: UpkeepStore
) -> None:
    policy = Policy(max_attempts=3, retry_delay_seconds=1800)
    pipeline = store_pipeline(database, organization_id, policy=policy)
    run = RunStore(database, organization_id).create(pipeline.id)
    leases = LeaseStore(database, LEASE)
    failed = Ending(status=RunStatus.FAILED, error_code="x", error="x", may_pass=True)
    leases.end(leases.claim(run.id, "first").run, failed)
    early = launched(upkeep)
    database.ahead = -HOUR

    assert (early, launched(upkeep)) == ([], [run.id])


def test_what_was_to_be_stopped_is_stopped_after_the_clock_was_set_back(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore
) -> None:
    leases = LeaseStore(database, LEASE)
    leases.end(leases.claim(pending.id, "dagster").run, Ending(status=RunStatus.SUCCESS, rows=1))
    early = list(upkeep.lease_stops(10))
    database.ahead = -HOUR

    later = upkeep.lease_stops(10)

    assert (early, [run.id for run in later]) == ([], [pending.id])


@pytest.mark.parametrize("jump", [-HOUR, timedelta(minutes=-5), timedelta(seconds=60), HOUR], ids=str)
def test_a_healthy_run_outlives_a_jump_and_keeps_its_lease(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore, jump: timedelta
) -> None:
    leases = LeaseStore(database, LEASE)
    run = leases.claim(pending.id, "dagster").run
    database.ahead = jump

    reaped = upkeep.reap()
    renewed = leases.renew(run, phase=RunPhase.EXTRACT, rows=1, bytes_=1)

    assert (list(reaped), renewed) == ([], True)
    assert list(upkeep.reap()) == []


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=str)
def test_a_run_whose_worker_died_across_a_jump_is_found(
    database: JumpingDatabase,
    pending: Run,
    upkeep: UpkeepStore,
    jump: timedelta,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    LeaseStore(database, LEASE).claim(pending.id, "dagster")
    database.ahead = jump
    upkeep.reap()
    monkeypatch.setattr(steadiness, "RENEWAL_SECONDS", 0.0)

    assert [run.id for run in upkeep.reap()] == [pending.id]


def test_no_due_time_lies_further_ahead_than_is_taken_for_a_jump(
    database: JumpingDatabase, pending: Run, upkeep: UpkeepStore
) -> None:
    launched(upkeep)
    upkeep.launch_failed(pending.id, 100)
    with database.write() as connection:
        now = database.now(connection)
        launch_at = connection.execute(select(runs.c.launch_at)).scalar_one()
        fail(connection, runs.c.id == pending.id, now, code="x", error="x", may_pass=False)
        stop_at = connection.execute(select(runs.c.stop_at)).scalar_one()

    assert launch_at - now <= LAUNCH_LEASE
    assert stop_at - now <= SETTLED


def test_limits_are_not_full_of_launches_from_before_a_jump(
    database: JumpingDatabase, organization_id: UUID, pending: Run, upkeep: UpkeepStore
) -> None:
    launched(upkeep)
    database.ahead = -HOUR

    assert UpkeepStore(database, LIMITS).seconds_to_launch() is not None
    assert launched(upkeep) == [pending.id]
