from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster
from stored import store_pipeline

from headrace.records import RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import AlreadyTaken, LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.dagster.graphql import DagsterUnavailable


@pytest.fixture
def dispatcher(upkeep: UpkeepStore, dagster: FakeDagster) -> Dispatcher:
    return Dispatcher(upkeep, dagster)


def test_a_pending_run_is_launched_once_and_keeps_dagsters_id(
    dispatcher: Dispatcher, dagster: FakeDagster, store: RunStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)

    rounds = [dispatcher.work(), dispatcher.work()]

    [launched] = dagster.find_by_run_tag(run.id)
    assert rounds == [True, False]
    assert store.get(run.id).dagster_run_id == launched.id


def test_a_first_launch_does_not_ask_for_the_tag(
    dispatcher: Dispatcher, dagster: FakeDagster, store: RunStore, pipeline_id: UUID
) -> None:
    store.create(pipeline_id)

    dispatcher.work()

    assert dagster.calls == ["launch"]


def test_a_launch_whose_answer_was_lost_is_found_and_not_repeated(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    dagster.forgets_to_answer = True
    with pytest.raises(DagsterUnavailable):
        dispatcher.work()
    make_due()

    dispatcher.work()

    [launched] = dagster.known.values()
    assert store.get(run.id).dagster_run_id == launched.id


def test_a_dispatcher_killed_after_the_launch_leaves_a_run_that_the_next_one_finds(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    upkeep: UpkeepStore,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    upkeep.lease_launches(1)
    dagster_run_id = dagster.launch(pipeline_id, run.id)
    make_due()

    dispatcher.work()

    assert list(dagster.known) == [dagster_run_id]
    assert store.get(run.id).dagster_run_id == dagster_run_id


def test_of_two_dagster_runs_the_active_one_is_recorded(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    upkeep: UpkeepStore,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    upkeep.lease_launches(1)
    going, _ended = dagster.add(run.id), dagster.add(run.id, RunStatus.FAILED)
    make_due()

    dispatcher.work()

    assert store.get(run.id).dagster_run_id == going


def test_a_run_waits_as_pending_while_dagster_is_down_and_starts_once_it_is_back(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    dagster.is_down = True
    for _ in range(3):
        make_due()
        with pytest.raises(DagsterUnavailable):
            dispatcher.work()
    waiting = store.get(run.id)
    dagster.is_down = False
    make_due()

    dispatcher.work()

    assert (waiting.status, waiting.dagster_run_id) == (RunStatus.PENDING, None)
    assert store.get(run.id).dagster_run_id in dagster.known


def test_a_job_that_dagster_does_not_know_yet_is_reloaded_and_launched(
    dispatcher: Dispatcher, dagster: FakeDagster, store: RunStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    dagster.jobs, dagster.jobs_after_reload = set(), {pipeline_id}

    dispatcher.work()

    assert dagster.calls == ["launch", "reload", "launch"]
    assert store.get(run.id).dagster_run_id is not None


def test_a_pipeline_without_a_job_does_not_hold_up_the_others(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    store: RunStore,
    database: Database,
    organization_id: UUID,
    pipeline_id: UUID,
) -> None:
    other_id = store_pipeline(database, organization_id).id
    dagster.jobs = {other_id}
    stuck, other = store.create(pipeline_id), store.create(other_id)

    while dispatcher.work():
        pass

    assert store.get(stuck.id).status is RunStatus.PENDING
    assert store.get(other.id).dagster_run_id is not None


def test_a_cancelled_run_is_not_launched(
    dispatcher: Dispatcher, dagster: FakeDagster, store: RunStore, pipeline_id: UUID
) -> None:
    store.cancel(store.create(pipeline_id).id)

    found_work = dispatcher.work()

    assert (found_work, dagster.calls) == (False, [])


def test_a_run_launched_twice_is_worked_on_once(
    dispatcher: Dispatcher,
    dagster: FakeDagster,
    store: RunStore,
    leases: LeaseStore,
    pipeline_id: UUID,
) -> None:
    run = store.create(pipeline_id)
    unnoticed = dagster.launch(pipeline_id, run.id)
    dispatcher.work()
    recorded = str(store.get(run.id).dagster_run_id)

    for dagster_run_id in (unnoticed, recorded, recorded):
        with suppress(AlreadyTaken):
            leases.claim(run.id, dagster_run_id)

    assert (store.get(run.id).dagster_run_id, store.get(run.id).fence) == (recorded, 1)
