import time
from uuid import UUID, uuid4

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import update

from headrace.records import RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import pipelines
from headrace_api.control.strays import SETTLED_SECONDS, Strays


@pytest.fixture
def strays(upkeep: UpkeepStore, dagster: FakeDagster) -> Strays:
    return Strays(upkeep, dagster)


def test_a_run_of_no_row_is_stopped_and_then_deleted(
    strays: Strays, dagster: FakeDagster, pipeline_id: UUID
) -> None:
    stray = dagster.launch(pipeline_id, uuid4())
    dagster.age(stray, SETTLED_SECONDS + 1)

    strays.work()
    after_one_round = dagster.known[stray].status
    strays.work()

    assert after_one_round is RunStatus.CANCELLED
    assert stray not in dagster.known


def test_runs_of_rows_and_runs_that_people_started_are_left_alone(
    strays: Strays, dagster: FakeDagster, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    launched = dagster.launch(pipeline_id, store.create(pipeline_id).id)
    refused = dagster.add(None, RunStatus.FAILED, pipeline_id=pipeline_id)
    other = dagster.add(None, RunStatus.SUCCESS)
    for run in (launched, refused, other):
        dagster.age(run, SETTLED_SECONDS + 1)

    strays.work()
    strays.work()

    assert set(dagster.known) == {launched, refused, other}


def test_a_run_that_was_repeated_in_dagster_belongs_to_its_own_row(
    strays: Strays, dagster: FakeDagster, leases: LeaseStore, pipeline_id: UUID
) -> None:
    repeated = dagster.add(uuid4(), pipeline_id=pipeline_id)  # with the tags of a run that was removed since
    leases.claim_new(pipeline_id, repeated)
    dagster.age(repeated, SETTLED_SECONDS + 1)

    strays.work()

    assert dagster.known[repeated].status is RunStatus.RUNNING


def test_a_run_of_a_purged_pipeline_is_removed_whoever_started_it(
    strays: Strays, dagster: FakeDagster, database: Database, upkeep: UpkeepStore, pipeline_id: UUID
) -> None:
    late = dagster.add(None, RunStatus.FAILED, pipeline_id=pipeline_id)
    dagster.age(late, SETTLED_SECONDS + 1)
    with database.write() as connection:
        connection.execute(update(pipelines).values(deleted_at=database.now(connection)))
    upkeep.purged(pipeline_id)

    strays.work()

    assert late not in dagster.known


def test_a_run_is_given_time_and_looked_at_once(
    strays: Strays, dagster: FakeDagster, pipeline_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = dagster.launch(pipeline_id, uuid4())
    strays.work()
    at_once = early in dagster.known
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SETTLED_SECONDS + 1)

    strays.work()
    strays.work()

    assert at_once
    assert early not in dagster.known


def test_after_the_clock_was_set_back_new_runs_are_looked_at(
    strays: Strays, dagster: FakeDagster, pipeline_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    strays.work()
    now = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: now)
    stray = dagster.add(uuid4(), RunStatus.FAILED, pipeline_id=pipeline_id)
    dagster.age(stray, 3600 + SETTLED_SECONDS + 1)

    strays.work()

    assert stray not in dagster.known
