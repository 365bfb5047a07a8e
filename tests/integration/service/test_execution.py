"""Runs executed by `execute_run` in this process, on real connectors and both databases of records."""

import logging
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update
from stored import LIMITS

from headrace.engine.interrupts import Interrupted
from headrace.engine.job import Progress
from headrace.records import Page, Pipeline, Run, RunStatus, State, StateDemand
from headrace.service import execution
from headrace.service.execution import Execution, RunFailed, execute_run
from headrace.service.lease import RunStopped
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.platform import Platform
from headrace.service.runs import Runs
from headrace.service.states import NotIncremental, States
from headrace.store.database import DatabaseUnavailable
from headrace.store.lifecycle.leases import AlreadyTaken, Claim, Ending, LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunDetails
from headrace.store.schema import runs

LOG = logging.getLogger("test.run")
SECRET = "s3cr3t-t0ken"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.duckdb"


def store(platform: Platform, target: Path, **source: Any) -> Pipeline:
    config = {
        "name": "creatures",
        "source": {
            "name": "dummy",
            "stream": "creatures",
            "authentication": {"type": "api_key", "params": {"token": SECRET}},
        }
        | source,
        "destination": {"name": "duckdb", "config": {"path": str(target), "table": "creatures"}},
    }
    return Pipelines(platform, platform.owner()).create(PipelineDraft(name="Creatures", config=config))


def change(platform: Platform, pipeline: Pipeline, **source: Any) -> None:
    pipelines = Pipelines(platform, platform.owner())
    _, config = pipelines.get_with_config(pipeline.id)
    config["source"] |= source
    pipelines.update(pipeline.id, {"config": config})


def run(platform: Platform, pipeline: Pipeline) -> Execution:
    pending = Runs(platform, platform.owner()).trigger(pipeline.id)
    return execute(platform, pipeline.id, pending.id)


def execute(platform: Platform, pipeline_id: UUID, run_id: UUID | None) -> Execution:
    return execute_run(platform, pipeline_id=pipeline_id, run_id=run_id, dagster_run_id="dagster", log=LOG)


def stored(platform: Platform, run: Run) -> Run:
    return Runs(platform, platform.owner()).get(run.id)


def ids(target: Path) -> list[int]:
    with duckdb.connect(str(target), read_only=True) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM creatures ORDER BY id").fetchall()]


def test_a_run_writes_its_file_loads_its_destination_and_says_so(platform: Platform, target: Path) -> None:
    done = run(platform, store(platform, target, records=250))

    ended = stored(platform, done.run)
    output = platform.settings.root / str(ended.output_file)
    assert (ended.status, ended.rows, ended.error) == (RunStatus.SUCCESS, 250, None)
    assert ended.output_file == f"outputs/{ended.id}/output.parquet"
    assert output.stat().st_size == ended.output_file_size
    assert pq.read_table(output)["id"].to_pylist() == ids(target) == list(range(1, 251))


def test_a_failing_source_publishes_nothing(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=50)
    run(platform, pipeline)
    change(platform, pipeline, records=900, fail_after=300)

    with pytest.raises(RunFailed) as failed:
        run(platform, pipeline)

    [ended], _ = Runs(platform, platform.owner()).list(Page(), status=RunStatus.FAILED)
    assert failed.value.cause_code == ended.error_code == "source.unreadable"
    assert ended.output_file is None
    assert not (platform.settings.outputs / str(ended.id) / "output.parquet").exists()
    assert ids(target) == list(range(1, 51))


def test_an_incremental_pipeline_reads_on_from_what_was_loaded(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=120, sync_mode="incremental")
    run(platform, pipeline)
    change(platform, pipeline, records=200)

    second, third = run(platform, pipeline), run(platform, pipeline)

    assert (second.result.rows, third.result.rows) == (80, 0)
    assert ids(target) == list(range(1, 201))
    _, state = States(platform, platform.owner()).get(pipeline.id)
    assert (state.cursor, state.demand) == (second.result.cursor, None)


def test_a_failed_run_moves_no_cursor(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=120, sync_mode="incremental")
    run(platform, pipeline)
    before = States(platform, platform.owner()).get(pipeline.id)
    change(platform, pipeline, records=900, fail_after=500)
    with pytest.raises(RunFailed):
        run(platform, pipeline)
    assert States(platform, platform.owner()).get(pipeline.id)[1] == before[1]
    change(platform, pipeline, records=300, fail_after=None)

    run(platform, pipeline)

    assert ids(target) == list(range(1, 301))


def test_a_state_that_a_client_set_is_followed_once(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=120, sync_mode="incremental")
    run(platform, pipeline)
    states = States(platform, platform.owner())

    _, demanded = states.set(pipeline.id, "2024-01-01T00:01:40+00:00")
    again, nothing = run(platform, pipeline), run(platform, pipeline)

    assert demanded.demand is StateDemand.SET
    assert (again.result.rows, nothing.result.rows) == (20, 0)
    assert ids(target) == list(range(1, 121))
    assert states.get(pipeline.id)[1].demand is None


def test_a_reset_state_replaces_the_table(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=120, sync_mode="incremental")
    run(platform, pipeline)
    change(platform, pipeline, records=30)
    States(platform, platform.owner()).reset(pipeline.id)

    again = run(platform, pipeline)

    assert again.result.rows == 30
    assert ids(target) == list(range(1, 31))


def test_a_full_refresh_has_no_state_to_set(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target)

    with pytest.raises(NotIncremental):
        States(platform, platform.owner()).reset(pipeline.id)
    assert States(platform, platform.owner()).get(pipeline.id)[1] == State()


def test_a_cancelled_run_stops_and_publishes_nothing(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=100_000, sleep=0.05)
    runs = Runs(platform, platform.owner())
    pending = runs.trigger(pipeline.id)
    canceller = threading.Timer(0.5, runs.cancel, [pending.id])
    canceller.start()
    started = time.monotonic()

    with pytest.raises(RunStopped):
        execute(platform, pipeline.id, pending.id)

    assert time.monotonic() - started < 10
    canceller.join()
    assert runs.get(pending.id).status is RunStatus.CANCELLED
    assert not target.exists()
    with pytest.raises(AlreadyTaken):
        execute(platform, pipeline.id, pending.id)


def test_a_run_that_nobody_asked_for_here_is_stored(platform: Platform, target: Path) -> None:
    done = execute(platform, store(platform, target).id, None)

    assert stored(platform, done.run).status is RunStatus.SUCCESS


def test_progress_is_stored_while_a_run_goes_on(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=10_000, sleep=0.05)
    runs = Runs(platform, platform.owner())
    pending = runs.trigger(pipeline.id)
    worker = threading.Thread(target=execute, args=(platform, pipeline.id, pending.id))
    worker.start()

    seen: set[tuple[int, int]] = set()
    while worker.is_alive():
        now = runs.get(pending.id)
        seen.add((now.rows or 0, now.bytes or 0))
        time.sleep(0.1)

    assert len(seen) > 3
    assert len({size for _, size in seen}) > 3
    assert runs.get(pending.id).rows == 10_000


def details(platform: Platform, run: Run) -> RunDetails:
    return Runs(platform, platform.owner()).details(run.id)


def test_a_run_ends_with_a_receipt(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=120, sync_mode="incremental")
    first = run(platform, pipeline)
    change(platform, pipeline, records=200)

    second = run(platform, pipeline)

    before, after = (details(platform, done.run).receipt for done in (first, second))
    assert before is not None
    assert after is not None
    assert (before.read, before.written, before.loaded, before.cursor_from) == (120, 120, 120, None)
    assert (after.read, after.written, after.loaded) == (80, 80, 80)
    assert after.cursor_from == before.cursor_to
    assert (after.schema_before, after.schema_changes) == (before.schema_after, ())
    assert after.warnings == ()


def test_a_failed_run_has_a_receipt_of_what_it_did(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=900, fail_after=300)

    with pytest.raises(RunFailed):
        run(platform, pipeline)

    [ended], _ = Runs(platform, platform.owner()).list(Page())
    receipt = details(platform, ended).receipt
    assert receipt is not None
    assert receipt.read <= 300
    assert (receipt.written, receipt.loaded) == (None, None)


def test_a_cancelled_run_has_a_receipt_too(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=2_000, sleep=0.05)
    runs = Runs(platform, platform.owner())
    pending = runs.trigger(pipeline.id)

    def cancel(progress: Progress) -> None:
        if progress.rows and runs.get(pending.id).status is RunStatus.RUNNING:
            runs.cancel(pending.id)

    with pytest.raises(RunStopped):
        execute_run(
            platform,
            pipeline_id=pipeline.id,
            run_id=pending.id,
            dagster_run_id="dagster",
            log=LOG,
            progress=cancel,
        )

    receipt = details(platform, pending).receipt
    assert receipt is not None
    assert receipt.read > 0


def test_other_data_is_not_mixed_into_the_table(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=20, sync_mode="incremental")
    run(platform, pipeline)
    change(platform, pipeline, stream="plants")

    with pytest.raises(RunFailed) as failed:
        run(platform, pipeline)

    assert failed.value.cause_code == "state.other_data"
    assert ids(target) == list(range(1, 21))


def test_a_database_that_is_gone_is_filled_from_the_beginning(platform: Platform, target: Path) -> None:
    pipeline = store(platform, target, records=20, sync_mode="incremental")
    run(platform, pipeline)
    target.unlink()

    done = run(platform, pipeline)

    assert ids(target) == list(range(1, 21))
    receipt = details(platform, done.run).receipt
    assert receipt is not None
    assert [each.code for each in receipt.warnings] == ["state.table_gone"]


def test_a_run_without_new_rows_leaves_the_load_that_the_state_is_of(
    platform: Platform, target: Path
) -> None:
    pipeline = store(platform, target, records=20, sync_mode="incremental")
    first = run(platform, pipeline)

    run(platform, pipeline)

    _, state = States(platform, platform.owner()).get(pipeline.id)
    assert state.load_id == first.run.id
    assert state.identity


def test_of_two_pipelines_into_one_file_the_newer_one_fails(platform: Platform, tmp_path: Path) -> None:
    def into_file(name: str) -> Pipeline:
        config = {
            "name": name,
            "source": {"name": "dummy", "stream": "creatures", "records": 5},
            "destination": {"name": "file", "config": {"path": str(tmp_path / "out"), "file_name": "both"}},
        }
        return Pipelines(platform, platform.owner()).create(PipelineDraft(name=name, config=config))

    older, newer = into_file("Older"), into_file("Newer")

    with pytest.raises(RunFailed, match="'Older'") as failed:
        run(platform, newer)
    run(platform, older)

    assert failed.value.cause_code == "pipeline.table_taken"


def test_a_copy_that_dagster_starts_by_itself_does_not_run(platform: Platform, target: Path) -> None:
    original = store(platform, target, records=5)
    copy = Pipelines(platform, platform.owner()).duplicate(original.id)

    with pytest.raises(RunFailed) as failed:
        execute(platform, copy.id, None)

    assert failed.value.cause_code == "pipeline.table_taken"


def test_an_interrupt_right_after_the_claim_is_written_down(
    platform: Platform, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = store(platform, target, records=5)
    pending = Runs(platform, platform.owner()).trigger(pipeline.id)
    claim = LeaseStore.claim

    def claim_and_interrupt(leases: LeaseStore, run_id: UUID, dagster_run_id: str) -> Claim:
        claimed = claim(leases, run_id, dagster_run_id)
        os.kill(os.getpid(), signal.SIGTERM)
        return claimed

    monkeypatch.setattr(LeaseStore, "claim", claim_and_interrupt)
    with pytest.raises(Interrupted):
        execute(platform, pipeline.id, pending.id)

    ended = stored(platform, pending)
    assert (ended.status, ended.error_code) == (RunStatus.FAILED, "run.interrupted")


def test_a_run_whose_data_is_there_never_fails(
    platform: Platform, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = store(platform, target, records=20, sync_mode="incremental")
    pending = Runs(platform, platform.owner()).trigger(pipeline.id)
    end = LeaseStore.end

    def fail(leases: LeaseStore, run: Run, ending: Ending) -> bool:
        if ending.status is RunStatus.SUCCESS:
            raise DatabaseUnavailable("The platform's database does not answer.")
        return end(leases, run, ending)

    with monkeypatch.context() as patch:
        patch.setattr(LeaseStore, "end", fail)
        patch.setattr(execution, "OUTAGE_SECONDS", 0.0)
        with pytest.raises(DatabaseUnavailable):
            execute(platform, pipeline.id, pending.id)
    interrupted = stored(platform, pending)
    with platform.database.write() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(runs).values(phase="load", lease_until=past))
    UpkeepStore(platform.database, LIMITS).reap()
    done = execute(platform, pipeline.id, pending.id)

    ended = stored(platform, done.run)
    assert interrupted.status is RunStatus.RUNNING
    assert (ended.status, ended.rows, ended.attempt) == (RunStatus.SUCCESS, 20, 2)
    assert ids(target) == list(range(1, 21))
    receipt = details(platform, done.run).receipt
    assert receipt is not None
    assert (receipt.read, receipt.written, receipt.loaded) == (20, 20, 20)


def test_an_attempt_ends_by_the_installations_time_limit_where_its_policy_has_none(
    platform: Platform, target: Path
) -> None:
    settings = platform.settings.model_copy(update={"run_timeout_seconds": 0.3})
    pipeline = store(platform, target, records=2000, sleep=0.2)

    with pytest.raises(RunFailed, match=r"longer than 0\.3 s") as failed:
        run(replace(platform, settings=settings), pipeline)

    assert failed.value.cause_code == "run.timed_out"
