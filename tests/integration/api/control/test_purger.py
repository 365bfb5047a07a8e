from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fakes.dagster import FakeDagster
from sqlalchemy import func, select
from stored import store_pipeline

from headrace.records import RunStatus
from headrace.store.database import Database
from headrace.store.lifecycle.upkeep import UpkeepStore
from headrace.store.pipelines import PipelineStore
from headrace.store.runs import RunStore
from headrace.store.schema import runs
from headrace_api.control.purger import Purger
from headrace_api.dagster.graphql import DagsterUnavailable


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def purger(upkeep: UpkeepStore, dagster: FakeDagster, outputs: Path) -> Purger:
    return Purger(upkeep, dagster, outputs)


@pytest.fixture
def pipelines(database: Database, organization_id: UUID) -> PipelineStore:
    return PipelineStore(database, organization_id)


def write_output(outputs: Path, run_id: UUID) -> Path:
    folder = outputs / str(run_id)
    folder.mkdir(parents=True)
    (folder / "output.parquet").write_bytes(b"rows")
    return folder


def stored_runs(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(runs)).scalar_one()


def test_a_deleted_pipeline_leaves_no_run_no_log_and_no_output(
    purger: Purger,
    dagster: FakeDagster,
    database: Database,
    pipelines: PipelineStore,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
    outputs: Path,
) -> None:
    run = store.create(pipeline_id)
    dagster.end(dagster.launch(pipeline_id, run.id), RunStatus.SUCCESS)
    folder = write_output(outputs, run.id)
    pipelines.delete(pipeline_id)

    purger.work()

    assert (dagster.known, dagster.wiped, stored_runs(database)) == ({}, [pipeline_id], 0)
    assert not folder.exists()
    assert list(upkeep.to_purge()) == []


def test_a_worker_is_stopped_before_anything_is_removed(
    purger: Purger,
    dagster: FakeDagster,
    database: Database,
    pipelines: PipelineStore,
    store: RunStore,
    pipeline_id: UUID,
    outputs: Path,
) -> None:
    run = store.create(pipeline_id)
    dagster_run_id = dagster.launch(pipeline_id, run.id)
    folder = write_output(outputs, run.id)
    dagster.stops_at_once = False
    pipelines.delete(pipeline_id)

    purger.work()
    while_it_ran = (dagster.calls.count("terminate"), folder.exists(), stored_runs(database))
    dagster.end(dagster_run_id, RunStatus.CANCELLED)
    purger.work()

    assert while_it_ran == (1, True, 1)
    assert (dagster.known, folder.exists(), stored_runs(database)) == ({}, False, 0)


def test_the_purge_continues_where_an_outage_stopped_it(
    purger: Purger,
    dagster: FakeDagster,
    database: Database,
    pipelines: PipelineStore,
    store: RunStore,
    pipeline_id: UUID,
) -> None:
    store.create(pipeline_id)
    pipelines.delete(pipeline_id)
    dagster.is_down = True
    with pytest.raises(DagsterUnavailable):
        purger.work()
    dagster.is_down = False

    purger.work()

    assert stored_runs(database) == 0


def test_another_pipelines_runs_and_outputs_stay(
    purger: Purger,
    dagster: FakeDagster,
    database: Database,
    organization_id: UUID,
    pipelines: PipelineStore,
    store: RunStore,
    pipeline_id: UUID,
    outputs: Path,
) -> None:
    other = store.create(store_pipeline(database, organization_id).id)
    dagster_run_id = dagster.launch(other.pipeline_id, other.id)
    folder = write_output(outputs, other.id)
    pipelines.delete(pipeline_id)

    purger.work()

    assert list(dagster.known) == [dagster_run_id]
    assert folder.exists()
    assert store.get(other.id).id == other.id


def test_files_that_cannot_be_deleted_do_not_hold_up_other_purges(
    purger: Purger,
    database: Database,
    organization_id: UUID,
    pipelines: PipelineStore,
    store: RunStore,
    pipeline_id: UUID,
    outputs: Path,
    upkeep: UpkeepStore,
) -> None:
    other_id = store_pipeline(database, organization_id).id
    stuck = store.create(pipeline_id)
    outputs.mkdir()
    (outputs / str(stuck.id)).write_text("no folder")
    pipelines.delete(pipeline_id)
    pipelines.delete(other_id)

    purger.work()

    assert [left.pipeline_id for left in upkeep.to_purge()] == [pipeline_id]


def test_a_dagster_run_without_a_tag_is_found_by_its_id(
    purger: Purger,
    dagster: FakeDagster,
    pipelines: PipelineStore,
    store: RunStore,
    upkeep: UpkeepStore,
    pipeline_id: UUID,
) -> None:
    run = store.create(pipeline_id)
    upkeep.launched(run.id, dagster.add(uuid4(), RunStatus.FAILED))
    pipelines.delete(pipeline_id)

    purger.work()

    assert dagster.known == {}
