import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from headrace.records import RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.leases import LeaseStore
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.runs import RunStore
from headrace_api.control.reaper import Reaper


def test_a_run_whose_lease_expired_fails_and_is_logged(
    database: Database,
    upkeep: UpkeepStore,
    store: RunStore,
    pipeline_id: UUID,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    run = store.create(pipeline_id)
    folder = tmp_path / str(run.id)
    folder.mkdir()
    for name in ("output.parquet", "output.parquet.part0", "output.parquet.merged"):
        (folder / name).touch()
    LeaseStore(database, timedelta(milliseconds=1)).claim(run.id, "dagster")
    time.sleep(0.01)

    Reaper(upkeep, tmp_path).work()

    assert [path.name for path in folder.iterdir()] == ["output.parquet"]
    assert store.get(run.id).error_code == "run.worker_lost"
    assert str(run.id) in caplog.text


def test_a_run_whose_lease_holds_is_left_alone(
    upkeep: UpkeepStore, store: RunStore, leases: LeaseStore, pipeline_id: UUID, tmp_path: Path
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, "dagster")

    Reaper(upkeep, tmp_path).work()

    assert store.get(run.id).status is RunStatus.RUNNING
