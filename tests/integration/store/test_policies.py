from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import update
from stored import LIMITS, store_pipeline

from headrace.records import Missed, Overlap, Page, Policy, Run, RunPhase, RunStatus, SlotOutcome
from headrace.store.database import Database
from headrace.store.domains import DomainStore
from headrace.store.lifecycle.leases import Ending, LeaseStore
from headrace.store.lifecycle.queue import Limits
from headrace.store.lifecycle.slots import ScheduleLedger, SlotStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import pipelines, runs
from headrace.store.stats import StatsStore

PASSING = Ending(
    status=RunStatus.FAILED, error_code="connector.unreachable", error="No answer.", may_pass=True
)
LASTING = Ending(status=RunStatus.FAILED, error_code="connector.unauthorized", error="Refused.")
SUCCESS = Ending(status=RunStatus.SUCCESS, rows=1)


@pytest.fixture
def store(database: Database, organization_id: UUID) -> RunStore:
    return RunStore(database, organization_id)


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    return LeaseStore(database, timedelta(seconds=15))


@pytest.fixture
def now() -> datetime:
    """The slot of this minute, as of this test: the suite may take longer than a slot stays current."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def make_due(database: Database) -> None:
    with database.write() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(runs).where(runs.c.launch_at.is_not(None)).values(launch_at=past))


def lose_worker(database: Database, run: Run) -> None:
    with database.write() as connection:
        past = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(runs).where(runs.c.id == run.id).values(lease_until=past))
    UpkeepStore(database, LIMITS).reap()


def test_an_error_that_may_pass_is_followed_by_another_attempt(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    policy = Policy(max_attempts=2, retry_delay_seconds=60)
    run = store.create(store_pipeline(database, organization_id, policy=policy).id)
    first = leases.claim(run.id, "first")

    assert leases.end(first.run, PASSING)

    waiting = store.get(run.id)
    assert (waiting.status, waiting.attempt, waiting.error_code) == (
        RunStatus.PENDING,
        2,
        "connector.unreachable",
    )
    assert UpkeepStore(database, LIMITS).lease_launches(1) == []
    make_due(database)
    [launch] = UpkeepStore(database, LIMITS).lease_launches(1)
    assert (launch.attempt, launch.launches) == (2, 0)
    second = leases.claim(run.id, "second")
    assert leases.end(second.run, SUCCESS)
    assert (store.get(run.id).status, store.get(run.id).error) == (RunStatus.SUCCESS, None)
    assert [(each.attempt, each.dagster_run_id) for each in store.details(run.id).attempts] == [(1, "first")]


def test_attempts_come_to_an_end(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    policy = Policy(max_attempts=2, retry_delay_seconds=0)
    run = store.create(store_pipeline(database, organization_id, policy=policy).id)
    for attempt in (1, 2):
        leases.end(leases.claim(run.id, f"attempt-{attempt}").run, PASSING)

    assert store.get(run.id).status is RunStatus.FAILED
    assert len(store.details(run.id).attempts) == 1


def test_an_error_that_lasts_is_not_tried_again(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    run = store.create(store_pipeline(database, organization_id, policy=Policy(max_attempts=5)).id)

    leases.end(leases.claim(run.id, "first").run, LASTING)

    assert store.get(run.id).status is RunStatus.FAILED


def test_the_worker_of_an_earlier_attempt_changes_nothing(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    policy = Policy(max_attempts=3, retry_delay_seconds=0)
    run = store.create(store_pipeline(database, organization_id, policy=policy).id)
    slept = leases.claim(run.id, "first")
    lose_worker(database, slept.run)
    leases.claim(run.id, "second")

    assert not leases.renew(slept.run, phase=RunPhase.LOAD, rows=1, bytes_=1)
    assert not leases.end(slept.run, SUCCESS)
    assert store.get(run.id).dagster_run_id == "second"


def test_a_worker_lost_while_loading_is_followed_up_whatever_the_policy(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    run = store.create(store_pipeline(database, organization_id).id)
    claim = leases.claim(run.id, "first")
    leases.renew(claim.run, phase=RunPhase.LOAD, rows=1, bytes_=1)

    lose_worker(database, claim.run)

    assert (store.get(run.id).status, store.get(run.id).attempt) == (RunStatus.PENDING, 2)


def test_a_waiting_attempt_can_be_cancelled(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    run = store.create(store_pipeline(database, organization_id, policy=Policy(max_attempts=2)).id)
    leases.end(leases.claim(run.id, "first").run, PASSING)

    store.cancel(run.id)

    make_due(database)
    assert UpkeepStore(database, LIMITS).lease_launches(1) == []


def test_a_slot_waits_for_the_active_run_where_the_policy_says_so(
    database: Database, store: RunStore, organization_id: UUID, now: datetime
) -> None:
    pipeline = store_pipeline(
        database, organization_id, schedule="* * * * *", policy=Policy(overlap=Overlap.QUEUE)
    )
    active, slots = store.create(pipeline.id), SlotStore(database)

    said = slots.take(pipeline.id, now)
    early = slots.admit_waiting()
    store.cancel(active.id)
    admitted = slots.admit_waiting()

    assert said == f"Run {active.id} of this pipeline has not ended. This slot waits for it."
    assert (early, admitted, slots.admit_waiting()) == (0, 1, 0)
    [slot], _ = ScheduleLedger(database, organization_id).list(pipeline.id, Page())
    assert (slot.outcome, slot.run_status, slot.scheduled_at) == (SlotOutcome.RUN, RunStatus.PENDING, now)


def test_the_ledger_tells_why_a_slot_has_no_run(
    database: Database, store: RunStore, organization_id: UUID, now: datetime
) -> None:
    pipeline = store_pipeline(database, organization_id, schedule="* * * * *")
    active, slots = store.create(pipeline.id), SlotStore(database)

    said, again = slots.take(pipeline.id, now), slots.take(pipeline.id, now)

    [slot], total = ScheduleLedger(database, organization_id).list(pipeline.id, Page())
    assert said == again == slot.reason == f"Run {active.id} of this pipeline has not ended."
    assert (slot.outcome, slot.run_id, total) == (SlotOutcome.SKIPPED, None, 1)


@pytest.mark.parametrize(
    ("missed", "runs_made"), [(Missed.NONE, 0), (Missed.LATEST, 1), (Missed.ALL, 3)], ids=str
)
def test_missed_slots_follow_the_policy(
    database: Database, store: RunStore, organization_id: UUID, missed: Missed, runs_made: int
) -> None:
    pipeline = store_pipeline(database, organization_id, schedule="0 * * * *", policy=Policy(missed=missed))
    slots = SlotStore(database)
    newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    hours = [newest - timedelta(hours=2), newest - timedelta(hours=1), newest]
    if missed is Missed.LATEST:
        hours = [hour + timedelta(hours=1) for hour in hours]

    for hour in hours:
        slots.take(pipeline.id, hour)
    for _ in hours:
        slots.admit_waiting()
        for run in store.list(Page(), status=RunStatus.PENDING)[0]:
            store.cancel(run.id)

    ledger, _ = ScheduleLedger(database, organization_id).list(pipeline.id, Page())
    assert [slot.outcome for slot in ledger].count(SlotOutcome.RUN) == runs_made


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
@pytest.mark.parametrize(
    ("missed", "outcomes"),
    [
        (Missed.NONE, ["run", "skipped", "skipped", "run"]),
        (Missed.LATEST, ["run", "skipped", "skipped", "run"]),
        (Missed.ALL, ["run", "run", "waiting", "waiting"]),
    ],
    ids=str,
)
def test_slots_that_no_daemon_came_to_are_seen_with_the_next_one(
    database: Database,
    store: RunStore,
    organization_id: UUID,
    now: datetime,
    missed: Missed,
    outcomes: list[str],
    together: bool,
) -> None:
    policy = Policy(missed=missed)
    pipeline = store_pipeline(database, organization_id, schedule="* * * * *", policy=policy)
    slots, minute = SlotStore(database), timedelta(minutes=1)
    with database.write() as connection:
        connection.execute(update(pipelines).values(created_at=now - 3.5 * minute))
    slots.take(pipeline.id, now - 3 * minute)
    for run in store.list(Page(), status=RunStatus.PENDING)[0]:
        store.cancel(run.id)

    if together:
        slots.take_together(now, lambda *_: True)
    said = slots.take(pipeline.id, now)

    ledger, _ = ScheduleLedger(database, organization_id).list(pipeline.id, Page())
    assert [slot.outcome for slot in reversed(ledger)] == outcomes
    assert [slot.scheduled_at for slot in ledger] == [now - n * minute for n in range(4)]
    assert said.startswith(ledger[0].reason or f"Run {ledger[0].run_id}")


def test_jitter_puts_a_start_off_by_the_same_time_for_each_slot(
    database: Database, store: RunStore, organization_id: UUID, now: datetime
) -> None:
    policy = Policy(jitter_seconds=600)
    pipelines = [
        store_pipeline(database, organization_id, schedule="@hourly", policy=policy) for _ in range(4)
    ]
    slots = SlotStore(database)

    said = [slots.take(pipeline.id, now) for pipeline in pipelines]
    again = [slots.take(pipeline.id, now) for pipeline in pipelines]

    assert all("after its slot" in each for each in said)
    assert len({each.split("starts")[1] for each in said}) > 1
    assert all("has this slot" in each for each in again)


def test_slots_of_one_time_are_taken_together_and_each_once(
    database: Database, store: RunStore, organization_id: UUID, now: datetime
) -> None:
    before = {"created_at": now - timedelta(hours=1)}
    due = [store_pipeline(database, organization_id, schedule="* * * * *").id for _ in range(5)]
    others = [
        store_pipeline(database, organization_id, schedule="0 0 1 1 *").id,
        store_pipeline(database, organization_id, schedule="* * * * *", enabled=False).id,
    ]
    with database.write() as connection:
        connection.execute(update(pipelines).values(before))
    store_pipeline(database, organization_id, schedule="* * * * *")  # newer than the slot
    slots = SlotStore(database)
    slots.take(due[0], now)

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: slots.take_together(now, lambda cron, _: cron[0] == "*"), range(4)))

    made = [run.pipeline_id for run in store.list(Page())[0]]
    assert sum(taken) == 4
    assert sorted(made) == sorted(due)
    assert not set(others) & set(made)


def test_only_a_run_that_still_waits_is_leased(
    database: Database, store: RunStore, organization_id: UUID
) -> None:
    run = store.create(store_pipeline(database, organization_id).id)
    upkeep = UpkeepStore(database, LIMITS)
    before = upkeep.seconds_to_launch()

    store.cancel(run.id)

    assert before is not None
    assert before <= 0
    assert upkeep.seconds_to_launch() is None
    assert upkeep.lease_launches(1) == []


@pytest.mark.parametrize(("launches", "delay"), [(1, 2.0), (2, 10.0)])
def test_a_run_whose_process_ended_before_its_claim_is_launched_anew_ever_later(
    launches: int, delay: float, database: Database, store: RunStore, organization_id: UUID
) -> None:
    run = store.create(store_pipeline(database, organization_id).id)
    upkeep = UpkeepStore(database, LIMITS)
    upkeep.launched(run.id, "ended")

    upkeep.launch_again(store.get(run.id), launches)

    assert upkeep.seconds_to_launch() == pytest.approx(delay, abs=1.0)


def test_a_launch_that_failed_says_when_it_is_due_again(
    database: Database, store: RunStore, organization_id: UUID
) -> None:
    store.create(store_pipeline(database, organization_id).id)
    upkeep = UpkeepStore(database, LIMITS)
    [launch] = upkeep.lease_launches(1)

    upkeep.launch_failed(launch.run_id, launch.launches)

    seconds = upkeep.seconds_to_launch()
    assert seconds is not None
    assert seconds <= 0.5


def test_no_more_runs_are_launched_than_there_is_room_for(
    database: Database, store: RunStore, leases: LeaseStore, organization_id: UUID
) -> None:
    made = [store.create(store_pipeline(database, organization_id).id) for _ in range(4)]
    upkeep = UpkeepStore(database, Limits(total=2))

    first = upkeep.lease_launches(10)
    assert upkeep.lease_launches(10) == []
    for launch in first:
        upkeep.launched(launch.run_id, f"worker of {launch.run_id}")
    full = upkeep.lease_launches(10)
    leases.end(leases.claim(first[0].run_id, f"worker of {first[0].run_id}").run, SUCCESS)
    freed = upkeep.lease_launches(10)

    assert [launch.run_id for launch in first] == [run.id for run in made[:2]]
    assert full == []
    assert [launch.run_id for launch in freed] == [made[2].id]


def test_one_domain_s_crowd_does_not_hold_up_the_others(
    database: Database, store: RunStore, organization_id: UUID
) -> None:
    domains = DomainStore(database, organization_id)
    crowd, quiet = domains.create({"name": "Crowd"}).id, domains.create({"name": "Quiet"}).id
    of_domain = {}
    for domain_id in [crowd] * 6 + [quiet] * 2:
        run = store.create(store_pipeline(database, organization_id, domain_id=domain_id).id)
        of_domain[run.id] = domain_id

    fair = UpkeepStore(database, Limits(total=4)).lease_launches(10)

    assert Counter(of_domain[launch.run_id] for launch in fair) == {crowd: 2, quiet: 2}


def test_limits_of_a_domain_and_a_source_hold(
    database: Database, store: RunStore, organization_id: UUID
) -> None:
    domain_id = DomainStore(database, organization_id).create({"name": "Crowd"}).id
    for _ in range(3):
        store.create(store_pipeline(database, organization_id, domain_id=domain_id, source="mysql").id)
    for _ in range(3):
        store.create(store_pipeline(database, organization_id, source="rest").id)

    chosen = UpkeepStore(database, Limits(total=10, per_source=2, per_domain=1)).lease_launches(10)

    assert len(chosen) == 3


def test_priority_goes_before_age(database: Database, store: RunStore, organization_id: UUID) -> None:
    store.create(store_pipeline(database, organization_id).id)
    urgent = store.create(store_pipeline(database, organization_id, policy=Policy(priority=5)).id)

    [first] = UpkeepStore(database, Limits(total=1)).lease_launches(10)

    assert first.run_id == urgent.id


def test_what_waits_is_counted(
    database: Database, store: RunStore, organization_id: UUID, now: datetime
) -> None:
    pipeline = store_pipeline(database, organization_id, policy=Policy(overlap=Overlap.QUEUE))
    stats = StatsStore(database, organization_id)
    nothing = stats.figures()
    store.create(pipeline.id)
    SlotStore(database).take(pipeline.id, now)
    make_due(database)

    figures = stats.figures()

    assert (nothing.pending_runs, nothing.longest_wait_seconds, nothing.waiting_slots) == (0, 0.0, 0)
    assert (figures.active_runs, figures.pending_runs, figures.waiting_slots) == (1, 1, 1)
    assert figures.longest_wait_seconds >= 1
