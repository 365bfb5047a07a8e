"""The Pipelines API's page from top to bottom, on the real processes."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from live_platform import LivePlatform, Watch, alive, on
from secret_search import found_in_files
from waiting import eventually
from warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("every_minute"), on("sqlite", long=("postgres",))]

# As the page prints it, but for the id of a domain that no fresh installation has.
PAGE_BODY = """{ "name": "HubSpot to BigQuery", "config": { "name": "hubspot-contacts", "source": { "name":
"hubspot", "stream": "contacts", "authentication": { "type": "api_key", "params": { "token": "pat-xxx" } } },
"destination": { "name": "bigquery", "config": { "project_id": "my-project", "dataset": "raw_data" } } },
"schedule": "0 */6 * * *", "enabled": true, "domain_id": null}"""
PAGE_CHANGE = '{ "name": "HubSpot Contacts (Production)", "schedule": "0 */4 * * *", "enabled": false}'
CREATURES = {"name": "dummy", "stream": "creatures"}
LONG = {**CREATURES, "records": 100_000, "sleep": 0.2}

LAUNCH = """
mutation ($selector: JobOrPipelineSelector!) {
  launchPipelineExecution(executionParams: {selector: $selector}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
RE_EXECUTE = """
mutation ($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: ALL_STEPS}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
STATUS = """
query ($run: ID!) {
  run: runOrError(runId: $run) { __typename ... on Run { status tags { key value } } }
  log: logsForRun(runId: $run) { __typename }
}"""


def test_the_pages_own_body_is_created_listed_shown_and_changed(platform: LivePlatform) -> None:
    body = json.loads(PAGE_BODY)

    answer = platform.api.post(
        "/api/pipelines", content=PAGE_BODY, headers={"Content-Type": "application/json"}
    )
    created = answer.json()
    listed = next(item for item in platform.call("GET", "/pipelines") if item["id"] == created["id"])
    shown = platform.call("GET", f"/pipelines/{created['id']}")
    changed = platform.call("PUT", f"/pipelines/{created['id']}", json.loads(PAGE_CHANGE))

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/pipelines/{created['id']}"
    plain = {key: body[key] for key in ("name", "schedule", "enabled", "domain_id")}
    assert created.items() >= {**plain, "updated_at": None}.items()
    assert "config" not in created
    assert (
        listed.items() >= {**plain, "domain_name": None, "last_run_status": None, "last_run_at": None}.items()
    )
    assert "config" not in listed
    assert shown["config"] == body["config"]
    assert changed.items() >= json.loads(PAGE_CHANGE).items()
    assert changed["updated_at"] is not None
    assert platform.call("GET", f"/pipelines/{created['id']}")["config"] == body["config"]


def test_a_table_arrives_value_by_value(platform: LivePlatform, warehouse: Warehouse, tmp_path: Path) -> None:
    target = f"orders_{tmp_path.name[:40].lower()}"
    pipeline = platform.create("Orders", warehouse.source(), warehouse.destination(table=target))

    new = platform.call("POST", f"/pipelines/{pipeline}/run", status=201)
    run = platform.ended_run(new["id"])

    assert new.items() >= {"pipeline_id": pipeline, "status": "pending", "triggered_by": "manual"}.items()
    assert (run["status"], run["error"], run["rows"]) == ("success", None, 2500), run
    assert run["output_file"] == f"outputs/{run['id']}/output.parquet"
    assert run["output_file_size"] == (platform.home / run["output_file"]).stat().st_size
    assert platform.runs_of(pipeline)[0]["id"] == run["id"]
    listed = next(item for item in platform.call("GET", "/pipelines") if item["id"] == pipeline)
    assert (listed["last_run_status"], listed["last_run_at"]) == ("success", run["started_at"])
    downloaded = downloaded_rows(platform, run["id"])
    assert downloaded == warehouse.rows("orders")
    loaded = [{name: row[name] for name in downloaded[0]} for row in warehouse.rows(f'"{target}"')]
    assert loaded == downloaded


def test_a_table_arrives_in_duckdb(platform: LivePlatform, warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "copy.duckdb"
    to_duckdb = {"name": "duckdb", "config": {"path": str(file), "table": "orders"}}
    pipeline = platform.create("Orders in DuckDB", warehouse.source(), to_duckdb)

    run = platform.ended_run(platform.run(pipeline))

    assert run["status"] == "success", run
    with duckdb.connect(file, read_only=True) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM orders").fetchall()
    assert rows == (2500,)


def test_a_run_tells_what_it_did_line_by_line(platform: LivePlatform) -> None:
    pipeline = platform.create("Told", CREATURES)

    run = platform.ended_run(platform.run(pipeline))
    lines = platform.call("GET", f"/pipelines/runs/{run['id']}/logs")["logs"].splitlines()

    assert len(lines) > 3
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) \S", line)
    assert any("Basilisk" in line for line in lines)


def test_an_output_is_downloaded_as_csv_and_as_json_lines(platform: LivePlatform) -> None:
    run = platform.ended_run(platform.run(platform.create("In three formats", CREATURES)))
    rows = downloaded_rows(platform, run["id"])

    as_csv = download(platform, run["id"], format="csv")
    as_jsonl = download(platform, run["id"], format="jsonl")

    assert [row["name"] for row in csv.DictReader(io.StringIO(as_csv.decode()))] == [r["name"] for r in rows]
    assert [json.loads(line)["name"] for line in as_jsonl.splitlines()] == [row["name"] for row in rows]


def test_a_duplicate_is_disabled_and_starts_with_no_runs(platform: LivePlatform) -> None:
    original = platform.create("Original", CREATURES, schedule="0 3 * * *", tags=["nightly"])
    platform.ended_run(platform.run(original))

    copy = platform.call("POST", f"/pipelines/{original}/duplicate", status=201)

    assert copy.items() >= {"name": "Original (Copy)", "schedule": "0 3 * * *", "enabled": False}.items()
    assert copy["tags"] == ["nightly"]
    assert platform.runs_of(copy["id"]) == []
    config, copied = (platform.call("GET", f"/pipelines/{id_}")["config"] for id_ in (original, copy["id"]))
    assert copied == config
    assert platform.ended_run(platform.run(copy["id"]))["status"] == "success"  # disabled, and by hand


def test_a_pipeline_has_one_active_run(platform: LivePlatform) -> None:
    pipeline = platform.create("One at a time", LONG)
    first = platform.run(pipeline)

    refused = platform.call("POST", f"/pipelines/{pipeline}/run", status=409)

    assert (refused["code"], refused["run_id"]) == ("run.already_active", first)
    platform.call("POST", f"/pipelines/runs/{first}/cancel")


def test_a_cancelled_run_stops_its_worker(platform: LivePlatform) -> None:
    pipeline = platform.create("Long", LONG)
    run_id = platform.run(pipeline)
    worker = platform.worker_of(run_id)

    answer = platform.call("POST", f"/pipelines/runs/{run_id}/cancel")
    eventually(lambda: not alive(worker), seconds=10, what="The worker's end")

    assert answer == {"status": "cancelled"}
    assert platform.call("POST", f"/pipelines/runs/{run_id}/cancel") == {"status": "cancelled"}
    run = platform.run_view(run_id)
    assert (run["status"], run["output_file"]) == ("cancelled", None)
    assert not list((platform.home / "outputs" / run_id).glob("*"))
    in_dagster(platform, run["dagster_run_id"], "CANCELED")
    platform.call("GET", f"/pipelines/runs/{run_id}/download", status=404)


def test_a_deleted_pipeline_leaves_nothing(platform: LivePlatform) -> None:
    pipeline = platform.create("To be deleted", CREATURES)
    done = platform.ended_run(platform.run(pipeline))
    in_dagster(platform, done["dagster_run_id"], "SUCCESS")

    platform.call("DELETE", f"/pipelines/{pipeline}", status=204)

    for path in (f"/pipelines/{pipeline}", f"/pipelines/{pipeline}/runs", f"/pipelines/runs/{done['id']}"):
        platform.call("GET", path, status=404)
    output = platform.home / "outputs" / done["id"]
    eventually(lambda: not output.exists(), seconds=15, what="The removal of the output")
    eventually(
        lambda: (
            platform.graphql(STATUS, run=done["dagster_run_id"])["run"]["__typename"] == "RunNotFoundError"
        ),
        seconds=15,
        what="The removal of Dagster's run",
    )
    assert platform.graphql(STATUS, run=done["dagster_run_id"])["log"]["__typename"] == "RunNotFoundError"
    log = {"the log": "Starting To be deleted"}
    assert found_in_files(log, platform.home / "dagster") == []


def test_deleting_a_pipeline_stops_its_run(platform: LivePlatform) -> None:
    pipeline = platform.create("Deleted while running", LONG)
    run_id = platform.run(pipeline)
    worker = platform.worker_of(run_id)

    platform.call("DELETE", f"/pipelines/{pipeline}", status=204)
    platform.call("GET", f"/pipelines/runs/{run_id}", status=404)

    eventually(lambda: not alive(worker), seconds=10, what="The worker's end")
    output = platform.home / "outputs" / run_id
    eventually(lambda: not output.exists(), seconds=30, what="The purge")


def test_a_launch_in_dagsters_own_ui_is_a_run_and_so_is_a_re_execution(platform: LivePlatform) -> None:
    pipeline = platform.create("Started in Dagster", CREATURES)
    job = eventually(lambda: job_of(platform, pipeline), seconds=10, what="The job")

    launched = platform.graphql(LAUNCH, selector=selector(job))["launchPipelineExecution"]
    first = eventually(lambda: run_in(platform, pipeline, launched), seconds=30, what="The launched run")
    in_dagster(platform, launched["run"]["runId"], "SUCCESS")
    again = platform.graphql(RE_EXECUTE, run=launched["run"]["runId"])["launchRunReexecution"]
    second = eventually(lambda: run_in(platform, pipeline, again), seconds=30, what="The re-executed run")

    assert first["id"] != second["id"]
    assert {first["triggered_by"], second["triggered_by"]} == {"manual"}
    assert len(platform.runs_of(pipeline)) == 2


def test_a_pipeline_shows_in_dagster_within_seconds_and_leaves_when_it_is_deleted(
    platform: LivePlatform,
) -> None:
    pipeline = platform.create("Shown", CREATURES, schedule="0 4 * * *", domain_id=None, tags=["a", "b"])

    job = eventually(lambda: job_of(platform, pipeline), seconds=5, what="The job")
    platform.call("DELETE", f"/pipelines/{pipeline}", status=204)
    eventually(lambda: job_of(platform, pipeline) is None, seconds=10, what="The job's removal")

    assert "Shown" in job["description"]
    assert [schedule["cronSchedule"] for schedule in job["schedules"]] == ["0 4 * * *"]


def test_a_schedule_fires_by_itself(platform: LivePlatform, every_minute: Watch) -> None:
    run_id = eventually(every_minute.complete, seconds=130, what="A run by schedule, from pending to success")
    run = platform.run_view(run_id)

    assert (run["status"], run["triggered_by"]) == ("success", "schedule")
    assert run["scheduled_at"].endswith(":00Z")


def download(platform: LivePlatform, run_id: str, **query: str) -> bytes:
    answer = platform.api.get(f"/api/pipelines/runs/{run_id}/download", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Disposition"].startswith("attachment")
    return answer.content


def downloaded_rows(platform: LivePlatform, run_id: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(download(platform, run_id))).to_pylist()


def in_dagster(platform: LivePlatform, dagster_run_id: str, status: str) -> None:
    eventually(
        lambda: platform.graphql(STATUS, run=dagster_run_id)["run"]["status"] == status,
        seconds=20,
        what=f"{status} in Dagster",
    )


def job_of(platform: LivePlatform, pipeline: str) -> dict[str, Any] | None:
    data = platform.graphql(
        "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {"
        " ... on RepositoryLocation { name repositories { name jobs {"
        "   name description schedules { cronSchedule } } } } } } } } }"
    )
    (entry,) = data["workspaceOrError"]["locationEntries"]
    (repository,) = entry["locationOrLoadError"]["repositories"]
    return next((job for job in repository["jobs"] if pipeline.replace("-", "") in job["name"]), None)


def selector(job: dict[str, Any]) -> dict[str, str]:
    return {
        "repositoryLocationName": "headrace_dagster",
        "repositoryName": "__repository__",
        "pipelineName": job["name"],
    }


def run_in(platform: LivePlatform, pipeline: str, launched: dict[str, Any]) -> dict[str, Any] | None:
    """Return the run that a launch in Dagster became, once it has succeeded."""
    assert launched["__typename"] == "LaunchRunSuccess", launched
    for run in platform.runs_of(pipeline):
        view = platform.run_view(run["id"])
        if (view["dagster_run_id"], view["status"]) == (launched["run"]["runId"], "success"):
            return view
    return None
