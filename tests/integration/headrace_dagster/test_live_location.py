"""The three processes on a new home folder: Dagster shows and runs the stored pipelines."""

from pathlib import Path
from uuid import UUID

import pytest
from dagster_processes import DagsterSide
from stored import store_pipeline
from waiting import eventually

from headrace.encryption.keyring import load_keyring
from headrace.naming import LOCATION, REPOSITORY, job_name, schedule_name
from headrace.records import Pipeline
from headrace.store.pipelines import PipelineStore
from headrace.store.sealed import SealedConfig

pytestmark = pytest.mark.slow

SEEN_SECONDS = 20.0
"""Webserver and daemon poll the server's id every second; the rest is for a busy machine."""

JOBS = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
  jobs { name description automationCondition { label } tags { key value } }
  schedules { name cronSchedule executionTimezone scheduleState { status } } } } } }"""

LAUNCH = """mutation ($selector: JobOrPipelineSelector!) { launchRun(executionParams: {
  selector: $selector, runConfigData: {}, executionMetadata: { tags: [] } })
  { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""

RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"""


RELOAD = """mutation ($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"""


@pytest.fixture
def pipelines(side: DagsterSide) -> PipelineStore:
    """The stored pipelines."""
    return PipelineStore(side.platform.database, side.platform.organization_id)


def stored(side: DagsterSide, **changes: object) -> Pipeline:
    """Store a pipeline whose config names a known key, without which no worker starts, and does not open."""
    (key_id,) = load_keyring(side.platform.settings, create=False).ids
    sealed = SealedConfig(sealed=b"sealed", key_id=key_id, revision=1)
    return store_pipeline(side.platform.database, side.platform.organization_id, config=sealed, **changes)


def shown(side: DagsterSide, kind: str, name: str) -> dict[str, object] | None:
    (repository,) = side.graphql(JOBS)["repositoriesOrError"]["nodes"]
    found = [one for one in repository[kind] if one["name"] == name]
    return found[0] if found else None


def seen_job(side: DagsterSide, pipeline_id: UUID) -> dict[str, object]:
    return eventually(
        lambda: shown(side, "jobs", job_name(pipeline_id)), seconds=SEEN_SECONDS, what="The job's showing"
    )


def test_a_stored_pipeline_shows_by_itself_and_no_process_restarts(side: DagsterSide) -> None:
    before = {name: process.pid for name, process in side.processes.items()}

    pipeline = stored(side, name="Orders nightly", schedule="30 2 * * *", timezone="Europe/Paris")

    job = seen_job(side, pipeline.id)
    schedule = shown(side, "schedules", schedule_name(pipeline.id))
    assert str(job["description"]).startswith("Orders nightly")
    assert schedule == {
        "name": schedule_name(pipeline.id),
        "cronSchedule": "30 2 * * *",
        "executionTimezone": "Europe/Paris",
        "scheduleState": {"status": "RUNNING"},
    }
    assert before == {name: process.pid for name, process in side.processes.items()}
    assert all(process.poll() is None for process in side.processes.values())


def test_a_disabled_pipelines_schedule_stops_and_its_job_stays(
    side: DagsterSide, pipelines: PipelineStore
) -> None:
    pipeline = stored(side, schedule="30 2 * * *")
    seen_job(side, pipeline.id)

    pipelines.update(pipeline.id, {"enabled": False})

    def is_stopped() -> bool:
        schedule = shown(side, "schedules", schedule_name(pipeline.id))
        return schedule is not None and schedule["scheduleState"] == {"status": "STOPPED"}

    eventually(is_stopped, seconds=SEEN_SECONDS, what="The schedule's stop")
    assert shown(side, "jobs", job_name(pipeline.id))


def test_a_deleted_pipelines_job_disappears(side: DagsterSide, pipelines: PipelineStore) -> None:
    pipeline = stored(side)
    seen_job(side, pipeline.id)

    pipelines.delete(pipeline.id)

    eventually(
        lambda: shown(side, "jobs", job_name(pipeline.id)) is None, seconds=SEEN_SECONDS, what="The job's end"
    )


def test_a_reload_by_graphql_shows_a_pipeline_at_once(side: DagsterSide) -> None:
    pipeline = stored(side)

    side.graphql(RELOAD, name=LOCATION)

    assert shown(side, "jobs", job_name(pipeline.id))


def test_a_run_that_cannot_be_executed_fails_in_dagster_and_tells_no_secret(side: DagsterSide) -> None:
    # Its config is no sealed one, so that the worker gets as far as opening it.
    pipeline = stored(side)
    seen_job(side, pipeline.id)
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": REPOSITORY,
        "pipelineName": job_name(pipeline.id),
    }

    launched = side.graphql(LAUNCH, selector=selector)["launchRun"]

    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    ended = eventually(lambda: _ended(side, run_id), seconds=60, what="The run's end")
    assert ended["status"] == "FAILURE"
    assert {"key": "headrace/pipeline", "value": "Orders"} in ended["tags"]
    assert all(process.poll() is None for process in side.processes.values())


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/graphql", {"Authorization": ""}, 401),
        ("POST", "/graphql", {"Authorization": "Bearer guessed"}, 401),
        ("POST", "/graphql", {"Host": "evil.test"}, 421),
        ("POST", "/graphql", {"Origin": "http://evil.test"}, 403),
        ("POST", "/graphql", {"Content-Type": "text/plain"}, 415),
        ("GET", "/graphql?query=mutation{reloadWorkspace{__typename}}", {}, 405),
        ("POST", "/report_asset_materialization/x", {"Content-Type": "application/json"}, 405),
    ],
)
def test_the_webserver_is_guarded(
    side: DagsterSide, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    body = '{"query": "{ version }"}' if method == "POST" else None
    json = {"Content-Type": "application/json"} | headers

    assert side.client.request(method, path, content=body, headers=json).status_code == status


def test_nobody_switches_a_schedule_in_dagster(side: DagsterSide) -> None:
    pipeline = stored(side, schedule="30 2 * * *")
    seen_job(side, pipeline.id)

    answer = side.graphql(
        "mutation ($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }",
        s={
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "scheduleName": schedule_name(pipeline.id),
        },
    )

    assert answer["startSchedule"]["__typename"] == "UnauthorizedError"


def test_the_uis_page_loads_the_labels(side: DagsterSide) -> None:
    page = side.client.get("/jobs", headers={"Accept": "text/html"})

    assert page.status_code == 200
    assert 'src="/headrace/labels.js"' in page.text
    assert len(page.content) == int(page.headers["Content-Length"])


def test_only_the_owner_can_read_dagsters_files(side: DagsterSide) -> None:
    root = side.platform.settings.root

    open_to_others = [
        path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077
    ]

    assert [path for path in open_to_others if path.parent.stat().st_mode & 0o077] == []


def test_the_processes_fit_into_their_memory(side: DagsterSide) -> None:
    sizes = {name: _pss_mb(process.pid) for name, process in side.processes.items()}

    assert sum(sizes.values()) < 520, sizes


def _ended(side: DagsterSide, run_id: str) -> dict[str, object] | None:
    run: dict[str, object] = side.graphql(RUN, id=run_id)["runOrError"]
    return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None


def _pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
