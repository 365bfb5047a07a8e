"""The running loops of one process."""

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from fakes.dagster import FakeDagster
from stored import LIMITS, columns, store_pipeline
from waiting import eventually, free_port

from headrace.records import Run, RunStatus
from headrace.service.platform import Platform
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.lifecycle import upkeep
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.pipelines import PipelineStore
from headrace.store.runs import RunStore
from headrace_api.control.control import Control
from headrace_api.control.dispatcher import Dispatcher
from headrace_api.control.launches import LAUNCHES
from headrace_api.control.reconciler import Reconciler
from headrace_api.dagster.client import DagsterClient
from headrace_api.resources.run_logs import follow, read, render

QUICK, SLOW = UUID(int=1), UUID(int=2)  # as in small_jobs.py


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    opened = Platform.open(Settings(home=tmp_path), migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def pipelines(platform: Platform) -> PipelineStore:
    return PipelineStore(platform.database, platform.organization_id)


@pytest.fixture
def runs(platform: Platform) -> RunStore:
    return RunStore(platform.database, platform.organization_id)


@pytest.fixture
def control(platform: Platform, dagster: DagsterClient) -> Iterator[Control]:
    control = Control(platform, dagster)
    control.start()
    yield control
    control.stop()


def launched(control: Control, runs: RunStore, pipeline_id: UUID) -> Run:
    run = runs.create(pipeline_id)
    control.wake()
    assert eventually(lambda: runs.get(run.id).dagster_run_id is not None)
    return runs.get(run.id)


@pytest.mark.slow
def test_a_run_is_launched_followed_cancelled_and_stopped(
    control: Control, pipelines: PipelineStore, runs: RunStore, dagster: DagsterClient
) -> None:
    pipelines.create(SLOW, columns())
    run = launched(control, runs, SLOW)
    follower = follow(dagster, lambda: runs.get(run.id))
    first = next(entry for entry in follower if entry)

    runs.cancel(run.id)
    control.wake()
    rest = [entry for entry in follower if entry]

    assert first[1].message == "Step 0"
    assert rest[-2][1].message == f"Step {len(rest) - 1}"
    assert rest[-1][1].message == "The run was told to stop."
    assert eventually(lambda: dagster.find_by_run_tag(run.id)[0].status is RunStatus.CANCELLED)
    assert len(render(read(dagster, runs.get(run.id))).splitlines()) == len(rest) + 1
    assert runs.get(run.id).status is RunStatus.CANCELLED


@pytest.mark.slow
def test_a_run_whose_worker_never_claimed_it_does_not_stay_pending(
    control: Control,
    platform: Platform,
    pipelines: PipelineStore,
    runs: RunStore,
    dagster: DagsterClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "RELAUNCH_DELAY", timedelta(seconds=0.1))
    reconciler = Reconciler(UpkeepStore(platform.database, LIMITS), dagster)
    pipelines.create(QUICK, columns())

    run = launched(control, runs, QUICK)

    def has_ended() -> bool:
        """Have the loops look at once, and not at their intervals."""
        reconciler.work()
        control.wake()
        return runs.get(run.id).status.is_terminal

    assert eventually(has_ended)
    assert runs.get(run.id).error_code == "run.not_started"
    assert len(dagster.find_by_run_tag(run.id)) == LAUNCHES


@pytest.mark.slow
def test_a_pipeline_that_is_deleted_while_it_runs_leaves_nothing_in_dagster(
    control: Control, platform: Platform, pipelines: PipelineStore, runs: RunStore, dagster: DagsterClient
) -> None:
    pipelines.create(SLOW, columns())
    run = launched(control, runs, SLOW)
    output = platform.settings.outputs / str(run.id)
    output.mkdir(parents=True)
    assert eventually(lambda: dagster.find_by_run_tag(run.id)[0].status is RunStatus.RUNNING)

    pipelines.delete(SLOW)
    control.wake()

    assert eventually(lambda: not UpkeepStore(platform.database, LIMITS).to_purge())
    assert dagster.find_by_run_tag(run.id) == []
    assert not output.exists()


def test_a_lost_worker_is_noticed_while_dagster_is_down(
    platform: Platform, pipelines: PipelineStore, runs: RunStore
) -> None:
    pipelines.create(QUICK, columns())
    run = LeaseStore(platform.database, timedelta(milliseconds=1)).claim(runs.create(QUICK).id, "lost").run
    client = DagsterClient(f"http://127.0.0.1:{free_port()}")
    control = Control(platform, client)
    time.sleep(0.01)

    control.start()

    assert eventually(lambda: runs.get(run.id).error_code == "run.worker_lost", seconds=5)
    control.stop()
    client.close()


def test_the_loops_stop_in_time_while_dagster_hangs(
    platform: Platform, pipelines: PipelineStore, runs: RunStore
) -> None:
    pipelines.create(QUICK, columns())
    runs.create(QUICK)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = DagsterClient(f"http://127.0.0.1:{silent.getsockname()[1]}")
        control = Control(platform, client)
        control.start()
        connection, _ = silent.accept()

        began = time.monotonic()
        control.stop()
        took = time.monotonic() - began

        connection.close()
    client.close()
    assert took < 5


def test_many_dispatchers_launch_each_run_once(database: Database, organization_id: UUID) -> None:
    store = RunStore(database, organization_id)
    pending = [store.create(store_pipeline(database, organization_id).id) for _ in range(20)]
    dagster = FakeDagster()

    def dispatch() -> None:
        dispatcher = Dispatcher(UpkeepStore(database, LIMITS), dagster)
        while dispatcher.work():
            pass

    threads = [threading.Thread(target=dispatch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(str, dagster.run_ids.values())) == sorted(str(run.id) for run in pending)
    assert {store.get(run.id).dagster_run_id for run in pending} == set(dagster.known)
