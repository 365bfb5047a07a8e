from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster

from headrace.records import Run, RunStatus
from headrace.store.leases import Ending, LeaseStore
from headrace.store.runs import RunStore
from headrace.store.upkeep import UpkeepStore
from headrace_api.control.dispatcher import LAUNCHES, Dispatcher
from headrace_api.control.reconciler import Reconciler
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


def test_the_end_of_a_second_launch_does_not_fail_the_run_that_the_first_has_claimed(
    store: RunStore, upkeep: UpkeepStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    dagster = _MeanwhileDagster()
    run = store.create(pipeline_id)
    first, second = dagster.add(run.id), dagster.add(run.id, RunStatus.FAILED)
    upkeep.launched(run.id, second)
    dagster.meanwhile = lambda: leases.claim(run.id, first)  # type: ignore[assignment,return-value]

    Reconciler(upkeep, dagster).work()

    assert store.get(run.id).status is RunStatus.RUNNING


def _end_well(leases: LeaseStore, run: Run) -> None:
    assert leases.end(run, Ending(status=RunStatus.SUCCESS, rows=1))
