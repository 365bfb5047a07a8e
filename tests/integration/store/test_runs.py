from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update
from stored import LIMITS, store_pipeline

from headrace.errors import HeadraceError
from headrace.records import Page, Run, RunPhase, RunStatus, TriggeredBy
from headrace.store.database import Database
from headrace.store.jobs import JobStore
from headrace.store.lifecycle.leases import AlreadyTaken, Ending, LeaseStore
from headrace.store.lifecycle.slots import SlotStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.pipelines import PipelineStore
from headrace.store.runs import RunAlreadyActive, RunAlreadyEnded, RunNotFound, RunStore
from headrace.store.schema import runs
from headrace.store.scoped import PipelineNotFound
from headrace.store.tokens import TokenStore

LEASE = timedelta(seconds=15)
SLOT = datetime.now(UTC).replace(second=0, microsecond=0)
SUCCESS = Ending(status=RunStatus.SUCCESS, rows=3, bytes=42, output_file="outputs/x", output_file_size=7)


@pytest.fixture
def pipeline_id(database: Database, organization_id: UUID) -> UUID:
    return store_pipeline(database, organization_id).id


@pytest.fixture
def store(database: Database, organization_id: UUID) -> RunStore:
    return RunStore(database, organization_id)


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    return LeaseStore(database, LEASE)


def expire(database: Database, run: Run) -> None:
    with database.write() as connection:
        past = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(runs).where(runs.c.id == run.id).values(lease_until=past))


def make_due(database: Database) -> None:
    with database.write() as connection:
        past = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(runs).where(runs.c.launch_at.is_not(None)).values(launch_at=past))
        connection.execute(update(runs).where(runs.c.stop_at.is_not(None)).values(stop_at=past))


def test_a_new_run_is_pending_and_triggered_by_hand(store: RunStore, pipeline_id: UUID) -> None:
    run = store.create(pipeline_id)

    assert (run.status, run.triggered_by, run.fence) == (RunStatus.PENDING, TriggeredBy.MANUAL, 0)
    assert run.created_at.tzinfo is not None
    assert store.get(run.id) == run


def test_a_pipeline_has_one_active_run_however_many_ask_at_once(store: RunStore, pipeline_id: UUID) -> None:
    def ask(_: int) -> Run | HeadraceError:
        try:
            return store.create(pipeline_id)
        except HeadraceError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))

    made = [answer for answer in answers if isinstance(answer, Run)]
    refused = [answer for answer in answers if isinstance(answer, RunAlreadyActive)]
    assert (len(made), len(refused)) == (1, 15)
    assert {refusal.context["run_id"] for refusal in refused} == {str(made[0].id)}


def test_of_two_workers_one_gets_the_run(store: RunStore, leases: LeaseStore, pipeline_id: UUID) -> None:
    run = store.create(pipeline_id)

    def claim(number: int) -> bool:
        try:
            leases.claim(run.id, f"dagster-{number}")
        except AlreadyTaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(claim, range(8)))

    assert claimed.count(True) == 1
    assert store.get(run.id).status is RunStatus.RUNNING


def test_a_cancelled_run_never_becomes_success(
    store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    store.cancel(claim.run.id)

    written = leases.end(claim.run, SUCCESS)

    assert not written
    assert store.get(claim.run.id).status is RunStatus.CANCELLED
    assert not leases.renew(claim.run, phase=RunPhase.LOAD, rows=1, bytes_=1)


def test_a_successful_run_never_becomes_cancelled(
    store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    assert leases.end(claim.run, SUCCESS)

    with pytest.raises(RunAlreadyEnded) as refused:
        store.cancel(claim.run.id)

    assert refused.value.context == {"run_status": "success"}
    ended = store.get(claim.run.id)
    assert (ended.status, ended.rows, ended.bytes) == (RunStatus.SUCCESS, 3, 42)


def test_cancelling_twice_answers_the_same(store: RunStore, pipeline_id: UUID) -> None:
    run = store.create(pipeline_id)

    first, second = store.cancel(run.id), store.cancel(run.id)

    assert first == second
    assert first.status is RunStatus.CANCELLED


def test_a_worker_that_slept_through_its_lease_changes_nothing(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    expire(database, claim.run)

    reaped = UpkeepStore(database, LIMITS).reap()

    assert [run.id for run in reaped] == [claim.run.id]
    assert not leases.end(claim.run, SUCCESS)
    failed = store.get(claim.run.id)
    assert (failed.status, failed.error_code) == (RunStatus.FAILED, "run.worker_lost")


def test_a_renewed_lease_is_not_reaped(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    expire(database, claim.run)
    assert leases.renew(claim.run, phase=RunPhase.EXTRACT, rows=10, bytes_=100)

    reaped = UpkeepStore(database, LIMITS).reap()

    assert reaped == []
    assert store.get(claim.run.id).rows == 10


def test_each_slot_of_a_schedule_has_one_run(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    slots = SlotStore(database)

    first, repeated = slots.take(pipeline_id, SLOT), slots.take(pipeline_id, SLOT)

    [run], _ = store.list(Page())
    assert first == repeated == f"Run {run.id} has this slot."
    assert leases.end(leases.claim(run.id, "dagster").run, SUCCESS)
    assert slots.take(pipeline_id, SLOT) == first
    assert store.list(Page())[1] == 1
    assert (run.triggered_by, run.scheduled_at) == (TriggeredBy.SCHEDULE, SLOT)


def test_two_daemons_that_take_a_slot_at_once_get_the_same_run(database: Database, pipeline_id: UUID) -> None:
    with ThreadPoolExecutor(4) as pool:
        taken = set(pool.map(lambda _: SlotStore(database).take(pipeline_id, SLOT), range(8)))

    assert len(taken) == 1


def test_a_slot_is_skipped_while_a_run_is_active(
    database: Database, store: RunStore, pipeline_id: UUID
) -> None:
    active = store.create(pipeline_id)

    skipped = SlotStore(database).take(pipeline_id, SLOT)

    assert skipped == f"Run {active.id} of this pipeline has not ended."


def test_a_lost_worker_does_not_block_the_next_slot(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    expire(database, claim.run)

    said = SlotStore(database).take(pipeline_id, SLOT)

    [run], _ = store.list(Page(), status=RunStatus.PENDING)
    assert said == f"Run {run.id} has this slot."


def test_a_disabled_pipeline_has_no_slots(database: Database, organization_id: UUID) -> None:
    pipeline = store_pipeline(database, organization_id, enabled=False)

    assert SlotStore(database).take(pipeline.id, SLOT) == "The pipeline is disabled."


def test_a_pending_run_is_launched_by_one_dispatcher(
    database: Database, store: RunStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    upkeep = UpkeepStore(database, LIMITS)

    with ThreadPoolExecutor(4) as pool:
        leased = [
            launch for batch in pool.map(lambda _: upkeep.lease_launches(10), range(4)) for launch in batch
        ]

    assert [(launch.run_id, launch.launches) for launch in leased] == [(run.id, 0)]


def test_a_dispatcher_that_died_leaves_the_run_to_the_next(
    database: Database, store: RunStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    upkeep = UpkeepStore(database, LIMITS)
    upkeep.lease_launches(10)
    make_due(database)

    [again] = upkeep.lease_launches(10)

    assert (again.run_id, again.launches) == (run.id, 1)
    upkeep.launched(run.id, "dagster")
    make_due(database)
    assert upkeep.lease_launches(10) == []
    assert store.get(run.id).dagster_run_id == "dagster"


def test_a_cancelled_run_is_stopped_in_dagster_until_it_is_done(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    store.cancel(claim.run.id)
    upkeep = UpkeepStore(database, LIMITS)

    [first], second = upkeep.lease_stops(10), upkeep.lease_stops(10)
    make_due(database)
    [again] = upkeep.lease_stops(10)
    upkeep.stopped(claim.run.id)
    make_due(database)

    assert first.dagster_run_id == again.dagster_run_id == "dagster"
    assert second == []
    assert upkeep.lease_stops(10) == []


def test_an_end_that_only_dagster_saw_is_written_down_once(
    database: Database, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")
    upkeep = UpkeepStore(database, LIMITS)

    first = upkeep.dagster_ended(claim.run, RunStatus.FAILED, "run.worker_lost", "It died.")
    second = upkeep.dagster_ended(claim.run, RunStatus.CANCELLED, "", "")

    assert (first, second) == (True, False)
    assert store.get(claim.run.id).error == "It died."


def test_a_run_that_dagster_started_by_itself_gets_a_row(
    store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    claim = leases.claim_new(pipeline_id, "from-the-launchpad")

    assert store.get(claim.run.id).status is RunStatus.RUNNING
    with pytest.raises(AlreadyTaken):
        leases.claim_new(pipeline_id, "another")


def test_a_deleted_pipeline_takes_its_runs_along_at_once(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID, pipeline_id: UUID
) -> None:
    claim = leases.claim(store.create(pipeline_id).id, "dagster")

    PipelineStore(database, organization_id).delete(pipeline_id)

    with pytest.raises(RunNotFound):
        store.get(claim.run.id)
    with pytest.raises(PipelineNotFound):
        store.list(Page(), pipeline_id=pipeline_id)
    with pytest.raises(PipelineNotFound):
        store.create(pipeline_id)
    assert store.list(Page()) == ([], 0)
    assert not leases.end(claim.run, SUCCESS)
    with pytest.raises(AlreadyTaken):
        leases.claim_new(pipeline_id, "again")


def test_a_purge_leaves_a_nameless_tombstone(
    database: Database, store: RunStore, organization_id: UUID, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    PipelineStore(database, organization_id).delete(pipeline_id)
    upkeep = UpkeepStore(database, LIMITS)

    [tombstone] = upkeep.to_purge()
    upkeep.purged(pipeline_id)

    assert tombstone.run_ids == (run.id,)
    assert upkeep.to_purge() == []
    assert LeaseStore(database, LEASE).status(run.id) is None
    assert JobStore(database).changed_after(0)[2] == [pipeline_id]


def test_runs_are_listed_newest_first_and_by_status(
    store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    ids = []
    for _ in range(3):
        run = store.create(pipeline_id)
        ids.append(run.id)
        store.cancel(run.id)
    last = store.create(pipeline_id)

    page, total = store.list(Page(limit=2, offset=1), pipeline_id=pipeline_id)
    cancelled, _ = store.list(Page(), pipeline_id=pipeline_id, status=RunStatus.CANCELLED)

    assert [run.id for run in page] == [ids[2], ids[1]]
    assert total == 4
    assert last.id not in {run.id for run in cancelled}


def test_another_organization_sees_nothing(database: Database, store: RunStore, pipeline_id: UUID) -> None:
    run = store.create(pipeline_id)
    foreign = RunStore(database, uuid4())

    with pytest.raises(RunNotFound):
        foreign.get(run.id)
    with pytest.raises(RunNotFound):
        foreign.cancel(run.id)
    with pytest.raises(PipelineNotFound):
        foreign.create(pipeline_id)
    assert foreign.list(Page()) == ([], 0)
    assert TokenStore(database, uuid4()).list(Page()) == ([], 0)
