from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import update

from headrace.errors import Unavailable
from headrace.records import Run, RunPhase, RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import AlreadyTaken, Ending, LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.control.launches import CLAIM_SECONDS, LAUNCHES, UNBEGUN_LAUNCHES
from headrace_api.control.reconciler import Reconciler
from headrace_api.control.terminator import Terminator
from headrace_api.dagster.runs import DagsterRun


@pytest.fixture
def reconciler(upkeep: UpkeepStore, dagster: FakeDagster) -> Reconciler:
    return Reconciler(upkeep, dagster)


@pytest.mark.parametrize("ended_as", [RunStatus.FAILED, RunStatus.SUCCESS])
def test_a_run_whose_worker_died_without_a_result_fails(
    ended_as: RunStatus,
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    leases: LeaseStore,
    pipeline_id: UUID,
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, dagster.add(run.id, ended_as))

    reconciler.work()

    repaired = store.get(run.id)
    assert (repaired.status, repaired.error_code) == (RunStatus.FAILED, "run.worker_lost")


def test_a_run_cancelled_in_dagsters_ui_is_cancelled_here(
    reconciler: Reconciler, dagster: FakeDagster, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, dagster.add(run.id, RunStatus.CANCELLED))

    reconciler.work()

    repaired = store.get(run.id)
    assert (repaired.status, repaired.error_code) == (RunStatus.CANCELLED, None)


def test_a_run_whose_process_did_not_start_is_launched_again(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    Dispatcher(upkeep, dagster).work()
    first = store.get(run.id).dagster_run_id or ""
    dagster.end(first, RunStatus.FAILED)

    reconciler.work()
    make_due()
    Dispatcher(upkeep, dagster).work()

    again = store.get(run.id)
    assert (again.status, again.attempt) == (RunStatus.PENDING, 1)
    assert again.dagster_run_id not in (None, first)


def test_a_run_whose_process_never_starts_fails(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    for _ in range(LAUNCHES):
        make_due()
        Dispatcher(upkeep, dagster).work()
        dagster.end(store.get(run.id).dagster_run_id or "", RunStatus.FAILED)
        reconciler.work()

    assert store.get(run.id).error_code == "run.not_started"
    assert len(dagster.known) == LAUNCHES


def test_a_run_outlasts_a_code_server_that_is_away(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    dispatcher = Dispatcher(upkeep, dagster)
    dagster.takes_runs = False
    for _ in range(20):
        make_due()
        with pytest.raises(Unavailable):
            dispatcher.work()
        reconciler.work()
    left_in_dagster = len(dagster.known)
    dagster.takes_runs = True
    make_due()

    dispatcher.work()

    assert left_in_dagster == 1  # the launches after the first were not sent
    assert store.get(run.id).status is RunStatus.PENDING
    assert store.get(run.id).dagster_run_id in dagster.known


def test_a_run_that_never_becomes_a_process_fails_in_the_end(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    dagster.takes_runs = False
    dagster.require_launchable = lambda: None  # type: ignore[method-assign]  # as far as Dagster knows
    for _ in range(UNBEGUN_LAUNCHES):
        make_due()
        with pytest.raises(Unavailable):
            Dispatcher(upkeep, dagster).work()
    make_due()

    Dispatcher(upkeep, dagster).work()
    reconciler.work()

    assert store.get(run.id).error_code == "run.not_started"


def test_a_run_whose_worker_vanished_before_its_claim_starts_anew(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    leases: LeaseStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    Dispatcher(upkeep, dagster).work()
    lost = store.get(run.id).dagster_run_id or ""
    reconciler.work()
    before = store.get(run.id).dagster_run_id
    dagster.age(lost, CLAIM_SECONDS + 1)  # Dagster says that it is going on, and will say so for a day

    reconciler.work()
    make_due()
    Dispatcher(upkeep, dagster).work()
    Terminator(upkeep, dagster).work()

    again = store.get(run.id)
    assert before == lost
    assert again.dagster_run_id not in (None, lost)
    assert dagster.known[lost].status is RunStatus.CANCELLED
    assert dagster.known[again.dagster_run_id or ""].status is RunStatus.RUNNING
    with pytest.raises(AlreadyTaken):
        leases.claim(run.id, lost)  # it was only paused
    leases.claim(run.id, again.dagster_run_id or "")


def test_a_lost_launch_is_stopped_only_once_it_can_be_told_from_the_next(
    reconciler: Reconciler,
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    Dispatcher(upkeep, dagster).work()
    dagster.age(store.get(run.id).dagster_run_id or "", CLAIM_SECONDS + 1)
    reconciler.work()
    on_its_way = dagster.launch(pipeline_id, run.id)  # not recorded yet
    make_due()

    Terminator(upkeep, dagster).work()

    assert dagster.known[on_its_way].status is RunStatus.RUNNING


def test_the_dagster_run_of_a_lost_attempt_is_stopped_while_the_next_one_waits(
    dagster: FakeDagster,
    store: RunStore,
    upkeep: UpkeepStore,
    leases: LeaseStore,
    database: Database,
    pipeline_id: UUID,
    make_due: Callable[[], None],
) -> None:
    run = store.create(pipeline_id)
    first = dagster.launch(pipeline_id, run.id)
    claim = leases.claim(run.id, first)
    leases.renew(claim.run, phase=RunPhase.LOAD, rows=1, bytes_=1)
    with database.write() as connection:
        connection.execute(update(runs).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))
    upkeep.reap()
    make_due()
    Dispatcher(upkeep, dagster).work()

    Terminator(upkeep, dagster).work()

    second = store.get(run.id).dagster_run_id or ""
    assert store.get(run.id).attempt == 2
    assert dagster.known[first].status is RunStatus.CANCELLED
    assert dagster.known[second].status is RunStatus.RUNNING


def test_a_run_deleted_in_dagster_before_it_began_fails(
    reconciler: Reconciler, store: RunStore, upkeep: UpkeepStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    upkeep.launched(run.id, "gone")

    reconciler.work()

    assert store.get(run.id).error_code == "run.deleted_in_dagster"


def test_a_run_deleted_in_dagster_under_its_worker_is_left_to_its_lease(
    reconciler: Reconciler, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, "gone")

    reconciler.work()

    assert store.get(run.id).status is RunStatus.RUNNING


def test_an_active_run_is_left_alone(
    reconciler: Reconciler, dagster: FakeDagster, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, dagster.add(run.id))

    reconciler.work()

    assert store.get(run.id).status is RunStatus.RUNNING


def test_without_unfinished_runs_no_request_is_sent(reconciler: Reconciler, dagster: FakeDagster) -> None:
    reconciler.work()

    assert dagster.calls == []


class _MeanwhileDagster(FakeDagster):
    """Calls `meanwhile` after the rows are read and before Dagster answers."""

    def meanwhile(self) -> None: ...

    def runs(self, dagster_run_ids: Sequence[str]) -> list[DagsterRun]:
        self.meanwhile()
        return super().runs(dagster_run_ids)


def test_a_success_written_between_the_two_reads_stays(
    store: RunStore, upkeep: UpkeepStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    dagster = _MeanwhileDagster()
    dagster_run_id = dagster.add(None, RunStatus.SUCCESS)
    claim = leases.claim(store.create(pipeline_id).id, dagster_run_id)
    dagster.meanwhile = lambda: _end_well(leases, claim.run)  # type: ignore[method-assign]

    Reconciler(upkeep, dagster).work()

    assert store.get(claim.run.id).status is RunStatus.SUCCESS


def _end_well(leases: LeaseStore, run: Run) -> None:
    assert leases.end(run, Ending(status=RunStatus.SUCCESS, rows=1))
