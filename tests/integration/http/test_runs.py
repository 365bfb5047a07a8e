"""The rows of the contract about runs."""

import csv
import io
import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pyarrow.parquet as pq
import pytest
from http_service import DUMMY_CONFIG, Service
from starlette.testclient import TestClient

from headrace.service.platform import Platform
from headrace.store.schema import runs as runs_table
from headrace_api import followers

ITEM_KEYS = [
    "id",
    "pipeline_id",
    "status",
    "triggered_by",
    "started_at",
    "finished_at",
    "error",
    "created_at",
]
VIEW_KEYS = [
    *("id", "pipeline_id", "status", "triggered_by", "started_at", "finished_at", "error"),
    *("output_file", "output_file_size"),
]
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def pending(client, create):
    """The id of a pending run."""
    return client.post(f"/api/pipelines/{create()['id']}/run").json()["id"]


@pytest.fixture
def succeeded(create, run):
    """The id of a run that has an output of five rows."""
    return run(create())


@pytest.fixture
def known_to_dagster(service, pending):
    """The id of a run that has a log in Dagster."""
    with service.platform.database.write() as connection:
        this = runs_table.c.id == UUID(pending)
        connection.execute(runs_table.update().where(this).values(dagster_run_id=str(uuid4())))
    return pending


def failing(create, run):
    source = {"name": "dummy", "stream": "creatures", "fail_after": 0}
    pipeline = create(config={**DUMMY_CONFIG, "source": source})
    with pytest.raises(Exception, match=r"."):
        run(pipeline)
    return pipeline


def test_a_triggered_run_is_answered_as_printed(client, create):
    pipeline = create()

    response = client.post(f"/api/pipelines/{pipeline['id']}/run")

    run = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/pipelines/runs/{run['id']}"
    assert list(run) == ["id", "pipeline_id", "status", "triggered_by", "created_at"]
    assert (run["pipeline_id"], run["status"], run["triggered_by"]) == (pipeline["id"], "pending", "manual")


def test_a_second_run_is_refused_and_the_active_one_named(client, create):
    path = f"/api/pipelines/{create()['id']}/run"
    active = client.post(path).json()["id"]

    response = client.post(path)

    assert response.status_code == 409
    assert (response.json()["code"], response.json()["run_id"]) == ("run.already_active", active)


def test_a_disabled_pipeline_may_be_run_manually(client, create):
    assert client.post(f"/api/pipelines/{create(enabled=False)['id']}/run").status_code == 201


def test_a_run_is_accepted_while_dagster_is_down(service, client, create):
    service.dagster.away = True

    response = client.post(f"/api/pipelines/{create()['id']}/run")

    assert (response.status_code, response.json()["status"]) == (201, "pending")


def test_the_runs_of_a_pipeline_are_listed_as_printed(client, create, run):
    pipeline = create()
    first, second = run(pipeline), run(pipeline)

    listed = client.get(f"/api/pipelines/{pipeline['id']}/runs").json()

    assert [item["id"] for item in listed] == [second, first]
    assert list(listed[0]) == ITEM_KEYS
    assert listed[0]["status"] == "success"
    assert listed[0]["error"] is None


def test_runs_are_filtered_by_status(client, create, run):
    pipeline = create()
    run(pipeline)
    path = f"/api/pipelines/{pipeline['id']}/runs"

    assert len(client.get(path, params={"status": "success"}).json()) == 1
    assert client.get(path, params={"status": "failed"}).json() == []
    assert client.get(path, params={"status": "done"}).status_code == 422


def test_all_runs_of_the_organization_are_listed(client, stranger, create, run):
    ended = run(create())
    waiting = client.post(f"/api/pipelines/{create()['id']}/run").json()["id"]

    listed = client.get("/api/runs").json()
    assert [item["id"] for item in listed] == [waiting, ended]
    assert [item["rows"] for item in listed] == [None, 5]
    assert {item["pipeline_name"] for item in listed} == {"Creatures"}
    assert [item["id"] for item in client.get("/api/runs?status=pending").json()] == [waiting]
    assert stranger.get("/api/runs").json() == []


def test_a_run_is_shown_as_printed_with_its_figures(client, succeeded):
    run = client.get(f"/api/pipelines/runs/{succeeded}").json()

    assert list(run)[:9] == VIEW_KEYS
    assert run["output_file"] == f"outputs/{succeeded}/output.parquet"
    assert run["output_file_size"] > 0
    assert (run["rows"], run["attempt"]) == (5, 1)
    assert run["bytes"] > 0
    assert run["dagster_run_id"]
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]


def test_a_run_is_shown_with_its_receipt_and_its_warnings(client, succeeded, pending):
    run = client.get(f"/api/pipelines/runs/{succeeded}").json()
    waiting = client.get(f"/api/pipelines/runs/{pending}").json()

    receipt = run["receipt"]
    assert [receipt[name] for name in ("read", "dropped", "rejected", "written", "loaded")] == [5, 0, 0, 5, 5]
    assert receipt["schema_after"]["id"] == "int64"
    assert receipt["schema_changes"] == run["warnings"] == []
    assert (waiting["receipt"], waiting["warnings"]) == (None, [])


def test_a_failed_run_says_why(client, create, run):
    failing(create, run)

    failed = client.get("/api/runs?status=failed").json()[0]

    assert failed["error"]
    assert client.get(f"/api/pipelines/runs/{failed['id']}").json()["error_code"]


def test_a_log_that_does_not_exist_yet_is_empty(client, pending):
    assert client.get(f"/api/pipelines/runs/{pending}/logs").json() == {"logs": ""}


def test_a_log_has_a_line_for_each_message(service, client, known_to_dagster):
    service.dagster.log("Starting pipeline...")
    service.dagster.log("Two\nlines", level="WARNING")

    logs = client.get(f"/api/pipelines/runs/{known_to_dagster}/logs").json()["logs"]

    assert logs == "2024-01-15 16:00:00 INFO Starting pipeline...\n2024-01-15 16:00:00 WARNING Two\nlines"


def test_a_log_is_503_while_dagster_is_down(service, client, known_to_dagster):
    service.dagster.away = True

    response = client.get(f"/api/pipelines/runs/{known_to_dagster}/logs")

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["code"] == "dagster.unavailable"


def test_a_log_is_followed_to_its_end(service, client, known_to_dagster):
    service.dagster.log("One")
    service.dagster.log("Two\nlines")
    client.post(f"/api/pipelines/runs/{known_to_dagster}/cancel")

    response = client.get(
        f"/api/pipelines/runs/{known_to_dagster}/logs", headers={"Accept": "text/event-stream"}
    )

    events = response.text.split("\n\n")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[0].endswith("\ndata: 2024-01-15 16:00:00 INFO One")
    assert events[1].endswith("\ndata: 2024-01-15 16:00:00 INFO Two\ndata: lines")
    assert events[2].startswith("event: end\n")


def test_a_follower_continues_after_its_last_event(service, client, known_to_dagster):
    service.dagster.log("One")
    service.dagster.log("Two")
    client.post(f"/api/pipelines/runs/{known_to_dagster}/cancel")
    path, accept = f"/api/pipelines/runs/{known_to_dagster}/logs", {"Accept": "text/event-stream"}
    first, second, _ = client.get(path, headers=accept).text.split("\n\n", 2)

    def after(event):
        last_id = event.partition("\n")[0].removeprefix("id: ")
        return client.get(path, headers={**accept, "Last-Event-ID": last_id})

    assert "One" not in after(first).text
    assert "Two" in after(first).text
    assert after(second).status_code == 204


def test_an_unknown_event_id_is_422(client, known_to_dagster):
    response = client.get(
        f"/api/pipelines/runs/{known_to_dagster}/logs",
        headers={"Accept": "text/event-stream", "Last-Event-ID": "nonsense"},
    )

    assert response.status_code == 422


def test_an_output_is_downloaded_whole(service, client, succeeded):
    response = client.get(f"/api/pipelines/runs/{succeeded}/download")

    assert response.status_code == 200
    assert response.headers["content-type"] == PARQUET
    assert response.headers["content-disposition"] == f'attachment; filename="{succeeded}.parquet"'
    assert response.headers["accept-ranges"] == "bytes"
    assert int(response.headers["content-length"]) == len(response.content)
    assert pq.read_table(io.BytesIO(response.content)).num_rows == 5


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-3", slice(0, 4)),
        ("bytes=4-", slice(4, None)),
        ("bytes=-4", slice(-4, None)),
        ("bytes=0-999999999", slice(0, None)),
    ],
)
def test_an_output_is_downloaded_in_a_range(client, succeeded, asked, part):
    path = f"/api/pipelines/runs/{succeeded}/download"
    whole = client.get(path).content

    response = client.get(path, headers={"Range": asked})

    start, end, _ = part.indices(len(whole))
    assert response.status_code == 206
    assert response.content == whole[part]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(client, succeeded, asked):
    response = client.get(f"/api/pipelines/runs/{succeeded}/download", headers={"Range": asked})

    assert response.status_code == 416
    assert response.headers["content-range"].startswith("bytes */")
    assert response.json()["code"] == "request.range_not_satisfiable"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=", "lines=1-2", "bytes=3-1", "bytes=a-b"])
def test_a_malformed_range_is_ignored(client, succeeded, asked):
    response = client.get(f"/api/pipelines/runs/{succeeded}/download", headers={"Range": asked})

    assert response.status_code == 200


def test_an_output_that_the_client_has_is_304(client, succeeded):
    path = f"/api/pipelines/runs/{succeeded}/download"
    etag = client.get(path).headers["etag"]

    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    resumed = client.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})
    changed = client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (resumed.status_code, changed.status_code) == (206, 200)


def test_an_output_is_converted_to_csv_and_json_lines(client, succeeded):
    path = f"/api/pipelines/runs/{succeeded}/download"

    as_csv = client.get(path, params={"format": "csv"})
    as_lines = client.get(path, params={"format": "jsonl"})

    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    objects = [json.loads(line) for line in as_lines.text.splitlines()]
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert as_csv.headers["content-disposition"] == f'attachment; filename="{succeeded}.csv"'
    assert [row["name"] for row in rows] == [each["name"] for each in objects]
    assert len(objects) == 5
    assert client.get(path, params={"format": "xml"}).status_code == 422


def test_an_output_of_a_run_that_has_not_ended_is_409(client, pending):
    response = client.get(f"/api/pipelines/runs/{pending}/download")

    assert (response.status_code, response.json()["code"]) == (409, "run.not_finished")


def test_an_output_that_was_never_written_is_404(client, pending):
    client.post(f"/api/pipelines/runs/{pending}/cancel")

    response = client.get(f"/api/pipelines/runs/{pending}/download")

    assert (response.status_code, response.json()["code"]) == (404, "run.no_output")


def test_an_output_that_was_removed_is_410(service, client, succeeded):
    shutil.rmtree(service.platform.settings.outputs / succeeded)

    response = client.get(f"/api/pipelines/runs/{succeeded}/download")

    assert (response.status_code, response.json()["code"]) == (410, "run.output_gone")


def test_a_run_is_cancelled_once_and_stays_cancelled(client, pending):
    path = f"/api/pipelines/runs/{pending}/cancel"

    first, second = client.post(path), client.post(path)

    assert (first.status_code, first.json()) == (200, {"status": "cancelled"})
    assert (second.status_code, second.json()) == (200, {"status": "cancelled"})


def test_a_run_that_ended_cannot_be_cancelled(client, create, run, succeeded):
    failing(create, run)
    failed = client.get("/api/runs?status=failed").json()[0]["id"]

    for run_id, status in ((succeeded, "success"), (failed, "failed")):
        response = client.post(f"/api/pipelines/runs/{run_id}/cancel")
        assert response.status_code == 409
        assert (response.json()["code"], response.json()["run_status"]) == ("run.already_ended", status)


def test_deleting_a_pipeline_cancels_its_active_run(client, create):
    pipeline = create()
    run_id = client.post(f"/api/pipelines/{pipeline['id']}/run").json()["id"]

    client.delete(f"/api/pipelines/{pipeline['id']}")

    assert client.post(f"/api/pipelines/runs/{run_id}/cancel").status_code == 404


def test_many_who_follow_a_log_leave_threads_for_everybody_else(
    service: Service, client: TestClient, known_to_dagster: str
) -> None:
    client.post(f"/api/pipelines/runs/{known_to_dagster}/cancel")  # so that its log ends
    slow = threading.Event()
    service.dagster.wait_for = slow
    path, accept = f"/api/pipelines/runs/{known_to_dagster}/logs", {"Accept": "text/event-stream"}

    with ThreadPoolExecutor(61) as pool:
        following = [pool.submit(client.get, path, headers=accept) for _ in range(60)]
        try:
            time.sleep(0.5)  # until they hold all the threads that they may
            answered = pool.submit(client.get, "/api/pipelines").result(timeout=10)
        finally:
            slow.set()

    assert answered.status_code == 200
    assert {answer.result().status_code for answer in following} == {200}


def test_a_token_that_is_revoked_follows_no_longer(
    service: Service, client: TestClient, known_to_dagster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "RECHECK_SECONDS", 0.0)
    service.dagster.ended = False
    made = client.post("/api/tokens", json={"name": "viewer", "role": "viewer"}).json()
    path, accept = f"/api/pipelines/runs/{known_to_dagster}/logs", {"Accept": "text/event-stream"}

    with service.client(made["token"]) as viewer, ThreadPoolExecutor(1) as pool:
        following = pool.submit(viewer.get, path, headers=accept)
        time.sleep(1.5)
        client.delete(f"/api/tokens/{made['id']}")
        told = following.result(timeout=20)

    assert told.status_code == 200
    assert "event: end" not in told.text


def test_a_request_does_not_wait_to_record_that_its_token_was_used(
    platform: Platform, client: TestClient
) -> None:
    with platform.database.write():
        answers = [client.get("/api/pipelines").status_code for _ in range(2)]
    platform.uses.write()

    assert answers == [200, 200]
    assert all(token["last_used_at"] for token in client.get("/api/tokens").json())
