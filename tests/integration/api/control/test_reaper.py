import time
from datetime import timedelta
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
) -> None:
    run = store.create(pipeline_id)
    LeaseStore(database, timedelta(milliseconds=1)).claim(run.id, "dagster")
    time.sleep(0.01)

    Reaper(upkeep).work()

    assert store.get(run.id).error_code == "run.worker_lost"
    assert str(run.id) in caplog.text


def test_a_run_whose_lease_holds_is_left_alone(
    upkeep: UpkeepStore, store: RunStore, leases: LeaseStore, pipeline_id: UUID
) -> None:
    run = store.create(pipeline_id)
    leases.claim(run.id, "dagster")

    Reaper(upkeep).work()

    assert store.get(run.id).status is RunStatus.RUNNING
