"""Runs in real workers, as Dagster's webserver and GraphQL show them."""

from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from dagster_processes import DagsterSide
from sqlalchemy import update
from waiting import eventually

from headrace.naming import LOCATION, REPOSITORY, RUN_ID_TAG, asset_prefix, job_name
from headrace.records import Page, Pipeline, Run, RunStatus
from headrace.service.internal_token import internal_token
from headrace.service.pipelines import PipelineDraft, Pipelines
from headrace.service.runs import Runs
from headrace.store.lifecycle.retention import Keep, RetentionStore
from headrace.store.schema import runs as run_rows
from headrace_api.control.run_remover import RunRemover
from headrace_api.dagster.client import DagsterClient

pytestmark = pytest.mark.slow

ENDED_SECONDS = 60.0
TOKEN = "pat-never-in-dagster"

LAUNCH = """mutation ($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    selector: $selector, runConfigData: {}, executionMetadata: { tags: $tags } })
  { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""

RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status
  eventConnection { events { __typename ... on MessageEvent { message } } } } } }"""

GONE = """query ($id: ID!) { runOrError(runId: $id) { __typename } }"""

TERMINATE = """mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"""

RELOAD = """mutation ($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"""

ASSETS = """query ($prefix: [String!]!) { assetsOrError(prefix: $prefix) { ... on AssetConnection {
  nodes { key { path } assetMaterializations(limit: 1) { metadataEntries {
    label ... on IntMetadataEntry { intValue }
    ... on TableSchemaMetadataEntry { schema { columns { name } } } } } } } } }"""


def create(side: DagsterSide, **source: Any) -> Pipeline:
    authentication = {"type": "bearer", "params": {"token": TOKEN}}
    config = {
        "name": "creatures",
        "source": {"name": "dummy", "stream": "creatures", "authentication": authentication} | source,
        "destination": {"name": "logger", "config": {}},
    }
    pipelines = Pipelines(side.platform, side.platform.owner())
    return pipelines.create(PipelineDraft(name="Creatures", config=config))


def launch(side: DagsterSide, pipeline: Pipeline, run: Run | None = None) -> str:
    """Launch the pipeline's job, for a run of the platform or by hand; return Dagster's run id."""
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": REPOSITORY,
        "pipelineName": job_name(pipeline.id),
    }
    tags = [{"key": RUN_ID_TAG, "value": str(run.id)}] if run else []
    side.graphql(RELOAD, name=LOCATION)
    answer = side.graphql(LAUNCH, selector=selector, tags=tags)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run_id: str = answer["run"]["runId"]
    return run_id


def ended(side: DagsterSide, dagster_run_id: str) -> dict[str, Any]:
    """Wait for the run's end in Dagster; return what Dagster shows of it."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = side.graphql(RUN, id=dagster_run_id)["runOrError"]
        return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

    return eventually(look, seconds=ENDED_SECONDS, what="The run's end in Dagster")


def runs(side: DagsterSide) -> Runs:
    return Runs(side.platform, side.platform.owner())


def wait_for(side: DagsterSide, run_id: UUID, status: RunStatus) -> Run:
    def look() -> Run | None:
        run = runs(side).get(run_id)
        return run if run.status is status else None

    return eventually(look, seconds=ENDED_SECONDS, what=f"The run's turning {status}")


def test_a_run_succeeds_and_shows_its_log_and_its_data(side: DagsterSide) -> None:
    pipeline = create(side, records=7)
    run = runs(side).trigger(pipeline.id)

    dagster_run_id = launch(side, pipeline, run)

    shown = ended(side, dagster_run_id)
    stored = runs(side).get(run.id)
    assert shown["status"] == "SUCCESS", shown
    assert (stored.status, stored.rows, stored.dagster_run_id) == (RunStatus.SUCCESS, 7, dagster_run_id)
    messages = [event.get("message") or "" for event in shown["eventConnection"]["events"]]
    assert any("Basilisk" in message for message in messages), messages
    assert TOKEN not in str(messages)
    (asset,) = side.graphql(ASSETS, prefix=list(asset_prefix(pipeline.id)))["assetsOrError"]["nodes"]
    (materialization,) = asset["assetMaterializations"]
    facts = {entry["label"]: entry for entry in materialization["metadataEntries"]}
    assert asset["key"]["path"][2:] == ["dummy", "creatures"]
    assert facts["dagster/row_count"]["intValue"] == 7
    assert facts["bytes"]["intValue"] == stored.bytes
    columns = [column["name"] for column in facts["dagster/column_schema"]["schema"]["columns"]]
    assert {"id", "name", "family"} <= set(columns)


def test_a_job_started_by_hand_in_dagster_becomes_a_run_of_the_platform(side: DagsterSide) -> None:
    pipeline = create(side)

    dagster_run_id = launch(side, pipeline)

    assert ended(side, dagster_run_id)["status"] == "SUCCESS"
    ((run,), total) = runs(side).list(Page(), pipeline_id=pipeline.id)
    assert total == 1
    assert (run.status, run.dagster_run_id) == (RunStatus.SUCCESS, dagster_run_id)


def test_the_same_run_launched_twice_is_executed_once(side: DagsterSide) -> None:
    pipeline = create(side)
    run = runs(side).trigger(pipeline.id)

    first, second = (launch(side, pipeline, run) for _ in range(2))

    statuses = sorted([ended(side, first)["status"], ended(side, second)["status"]])
    assert statuses == ["FAILURE", "SUCCESS"]
    assert runs(side).get(run.id).status is RunStatus.SUCCESS


def test_a_failed_run_tells_its_code_and_no_secret(side: DagsterSide) -> None:
    pipeline = create(side, records=200, fail_after=100)
    run = runs(side).trigger(pipeline.id)

    shown = ended(side, launch(side, pipeline, run))

    assert shown["status"] == "FAILURE"
    assert runs(side).get(run.id).status is RunStatus.FAILED
    assert TOKEN not in str(shown)


def test_a_run_goes_on_while_pipelines_change_and_the_location_is_reloaded(side: DagsterSide) -> None:
    pipeline = create(side, records=400, sleep=1.0)
    run = runs(side).trigger(pipeline.id)
    dagster_run_id = launch(side, pipeline, run)
    wait_for(side, run.id, RunStatus.RUNNING)
    before = {name: process.pid for name, process in side.processes.items()}

    Pipelines(side.platform, side.platform.owner()).update(pipeline.id, {"name": "Renamed"})
    create(side)
    side.graphql(RELOAD, name=LOCATION)

    assert ended(side, dagster_run_id)["status"] == "SUCCESS"
    assert runs(side).get(run.id).rows == 400
    assert all(side.processes[name].poll() is None for name in before)


def test_terminating_in_dagster_ends_the_run_at_once(side: DagsterSide) -> None:
    pipeline = create(side, records=10_000, sleep=1.0)
    run = runs(side).trigger(pipeline.id)
    dagster_run_id = launch(side, pipeline, run)
    wait_for(side, run.id, RunStatus.RUNNING)

    side.graphql(TERMINATE, id=dagster_run_id)

    assert ended(side, dagster_run_id)["status"] == "CANCELED"
    assert runs(side).get(run.id).status.is_terminal


def test_a_run_that_is_cancelled_in_the_platform_is_cancelled_in_dagster(side: DagsterSide) -> None:
    pipeline = create(side, records=10_000, sleep=0.5)
    run = runs(side).trigger(pipeline.id)
    dagster_run_id = launch(side, pipeline, run)
    wait_for(side, run.id, RunStatus.RUNNING)

    runs(side).cancel(run.id)

    assert ended(side, dagster_run_id)["status"] == "CANCELED"
    assert runs(side).get(run.id).status is RunStatus.CANCELLED


def test_nothing_that_dagster_keeps_holds_the_secret(side: DagsterSide) -> None:
    pipeline = create(side)
    ended(side, launch(side, pipeline))

    holding = [
        path
        for path in side.platform.settings.dagster_home.rglob("*")
        if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]

    assert holding == []
    assert TOKEN not in side.log.read_text()


def test_stopping_the_code_server_ends_its_runs_and_itself(side: DagsterSide) -> None:
    pipeline = create(side, records=10_000, sleep=1.0)
    run = runs(side).trigger(pipeline.id)
    launch(side, pipeline, run)
    wait_for(side, run.id, RunStatus.RUNNING)

    side.processes["dagster-code"].terminate()
    code = side.processes["dagster-code"].wait(timeout=20)
    side.start("dagster-code")

    stopped = runs(side).get(run.id)
    assert (code, stopped.status, stopped.error_code) == (0, RunStatus.FAILED, "run.interrupted")


def test_an_expired_run_leaves_nothing_in_dagster(side: DagsterSide) -> None:
    pipeline = create(side, records=2)
    made = [runs(side).trigger(pipeline.id)]
    ids = [launch(side, pipeline, made[0])]
    assert ended(side, ids[0])["status"] == "SUCCESS"
    made.append(runs(side).trigger(pipeline.id))
    ids.append(launch(side, pipeline, made[1]))
    assert ended(side, ids[1])["status"] == "SUCCESS"
    with side.platform.database.write() as connection:
        connection.execute(update(run_rows).values(stop_at=None))  # as the terminator does after a minute
    settings = side.platform.settings
    logs = settings.dagster_home / "history" / "runs"
    before = [list(logs.glob(f"{id_}*")) != [] for id_ in ids]

    with closing(DagsterClient(settings.dagster_address, lambda: internal_token(settings))) as client:
        retention = RetentionStore(side.platform.database, Keep(age=None, newest=1, most=1))
        while RunRemover(retention, client, settings.outputs).work():
            pass

    left, _ = runs(side).list(Page(), pipeline_id=pipeline.id)
    (asset,) = side.graphql(ASSETS, prefix=list(asset_prefix(pipeline.id)))["assetsOrError"]["nodes"]
    assert [run.id for run in left] == [made[1].id]
    assert side.graphql(GONE, id=ids[0])["runOrError"]["__typename"] == "RunNotFoundError"
    assert [(settings.outputs / str(run.id)).exists() for run in made] == [False, True]
    assert before == [True, True]
    assert [list(logs.glob(f"{id_}*")) != [] for id_ in ids] == [False, True]
    assert asset["assetMaterializations"] != []
