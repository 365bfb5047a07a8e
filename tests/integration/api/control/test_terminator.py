from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import update

from headrace.records import RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import Ending, LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs
from headrace_api.control.terminator import Terminator


@pytest.fixture
def terminator(upkeep: UpkeepStore, dagster: FakeDagster) -> Terminator:
    return Terminator(upkeep, dagster)


def test_a_cancelled_run_is_stopped_in_dagster(
    terminator: Terminator, dagster: FakeDagster, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    dagster_run_id = dagster.launch(pipeline_id, run.id)
    leases.claim(run.id, dagster_run_id)
    store.cancel(run.id)

    terminator.work()

    assert dagster.known[dagster_run_id].status is RunStatus.CANCELLED


def test_a_run_is_told_to_stop_until_it_has_ended(
    terminator: Terminator,
    dagster: FakeDagster,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    dagster_run_id = dagster.launch(pipeline_id, run.id)
    dagster.stops_at_once = False
    store.cancel(run.id)

    for _ in range(2):
        terminator.work()
        make_due()
    dagster.end(dagster_run_id, RunStatus.CANCELLED)
    terminator.work()
    make_due()
    terminator.work()

    assert dagster.calls.count("terminate") == 2
    assert dagster.calls[-1] == "find_by_run_tag"
    assert dagster.calls.count("find_by_run_tag") == 3


def test_a_launch_that_was_never_recorded_is_stopped_by_its_tag(
    terminator: Terminator, dagster: FakeDagster, store: RunStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    unnoticed = dagster.launch(pipeline_id, run.id)
    store.cancel(run.id)

    terminator.work()

    assert dagster.known[unnoticed].status is RunStatus.CANCELLED


def test_a_run_that_was_started_in_dagsters_ui_is_stopped_by_its_id(
    terminator: Terminator, dagster: FakeDagster, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    by_hand = dagster.add(None)
    claim = leases.claim_new(pipeline_id, by_hand)
    store.cancel(claim.run.id)

    terminator.work()

    assert dagster.known[by_hand].status is RunStatus.CANCELLED


def test_a_run_cancelled_before_its_launch_leaves_nothing_to_stop(
    terminator: Terminator,
    dagster: FakeDagster,
    store: RunStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    store.cancel(store.create(pipeline_id).id)

    terminator.work()
    make_due()
    terminator.work()

    assert dagster.calls == ["find_by_run_tag"]


def test_the_dagster_run_of_a_worker_that_died_right_after_its_result_is_ended(
    terminator: Terminator,
    dagster: FakeDagster,
    store: RunStore,
    leases: LeaseStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    left = dagster.launch(pipeline_id, run.id)
    leases.end(leases.claim(run.id, left).run, Ending(status=RunStatus.SUCCESS, rows=1))
    terminator.work()
    at_once = dagster.known[left].status
    make_due()

    terminator.work()

    assert at_once is RunStatus.RUNNING  # it ends by itself, as a rule
    assert dagster.known[left].status is RunStatus.CANCELLED
    assert store.get(run.id).status is RunStatus.SUCCESS


def test_a_run_is_kept_in_sight_until_dagster_says_the_same(
    terminator: Terminator,
    dagster: FakeDagster,
    database: Database,
    upkeep: UpkeepStore,
    store: RunStore,
    leases: LeaseStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    known = dagster.launch(pipeline_id, run.id)
    leases.end(leases.claim(run.id, known).run, Ending(status=RunStatus.SUCCESS, rows=1))
    dagster.end(known, RunStatus.FAILED)
    with database.write() as connection:
        connection.execute(update(runs).values(finished_at=datetime.now(UTC) - timedelta(minutes=2)))
    sizes = []

    for status in (RunStatus.FAILED, RunStatus.SUCCESS):
        dagster.end(known, status)
        make_due()
        terminator.work()
        sizes.append(len(upkeep.settling()))

    assert sizes == [1, 0]
