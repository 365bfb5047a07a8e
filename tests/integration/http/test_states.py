"""Sync state over HTTP: read, set and reset."""

import threading
import time

import pytest

from headrace.service.execution import RunFailed

CREATURES = {"name": "dummy", "stream": "creatures", "records": 200, "sync_mode": "incremental"}
HUNDREDTH = "2024-01-01T00:01:40+00:00"  # when the hundredth creature changed


@pytest.fixture
def pipeline(create, tmp_path):
    """An incremental pipeline, created with changes to its source."""
    destination = {"name": "sqlite", "config": {"path": str(tmp_path / "target.sqlite")}}

    def made(**source):
        config = {"name": "c", "source": CREATURES | source, "destination": destination}
        return create(config=config)

    return made


def state_of(pipeline: dict) -> str:
    return f"/api/pipelines/{pipeline['id']}/state"


def test_a_pipeline_that_never_ran_has_an_empty_state(client, pipeline):
    assert client.get(state_of(pipeline())).json() == {
        "sync_mode": "incremental", "cursor": None, "run_id": None, "pending": None, "updated_at": None,
    }  # fmt: skip


def test_a_run_moves_the_state_and_the_next_run_starts_from_a_cursor_that_a_client_set(client, pipeline, run):
    created = pipeline()
    path = state_of(created)
    first = run(created)
    loaded = client.get(path).json()

    demanded = client.put(path, json={"cursor": HUNDREDTH}).json()
    second = run(created)
    followed = client.get(path).json()
    reset = client.delete(path).json()
    third = run(created)

    assert (loaded["run_id"], loaded["pending"]) == (first, None)
    assert (demanded["cursor"], demanded["pending"], demanded["run_id"]) == (HUNDREDTH, "set", None)
    assert (followed["cursor"], followed["pending"], followed["run_id"]) == (loaded["cursor"], None, second)
    assert (reset["cursor"], reset["pending"]) == (None, "reset")
    rows = [client.get(f"/api/pipelines/runs/{run_id}").json()["rows"] for run_id in (first, second, third)]
    assert rows == [200, 100, 200]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_demand_during_a_run_is_for_the_next_run(service, client, pipeline, run, method):
    created = pipeline(records=800, sleep=0.1)
    body = {"json": {"cursor": HUNDREDTH}} if method == "PUT" else {}
    pending = client.post(f"/api/pipelines/{created['id']}/run").json()["id"]
    worker = threading.Thread(target=service.execute, args=(created["id"], pending))
    worker.start()
    while not client.get(f"/api/pipelines/runs/{pending}").json()["rows"]:
        time.sleep(0.02)

    demanded = client.request(method, state_of(created), **body).json()
    worker.join()

    ended = client.get(f"/api/pipelines/runs/{pending}").json()
    assert (ended["status"], ended["rows"]) == ("success", 800)
    assert client.get(state_of(created)).json() == demanded
    next_run = client.get(f"/api/pipelines/runs/{run(created)}").json()
    assert next_run["rows"] == (700 if method == "PUT" else 800)
    assert client.get(state_of(created)).json()["pending"] is None


def test_a_failed_run_leaves_a_demand_for_the_next_run(client, pipeline, service):
    created = pipeline(fail_after=150)
    client.put(state_of(created), json={"cursor": HUNDREDTH})
    run_id = client.post(f"/api/pipelines/{created['id']}/run").json()["id"]

    with pytest.raises(RunFailed, match="fail after"):
        service.execute(created["id"], run_id)

    state = client.get(state_of(created)).json()
    assert (state["cursor"], state["pending"]) == (HUNDREDTH, "set")


def test_a_run_from_a_cursor_that_the_source_cannot_read_says_so(client, pipeline, service):
    created = pipeline()
    client.put(state_of(created), json={"cursor": "yesterday"})
    run_id = client.post(f"/api/pipelines/{created['id']}/run").json()["id"]

    with pytest.raises(RunFailed, match="not an ISO 8601 time"):
        service.execute(created["id"], run_id)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{}", 422, "/cursor"),
        (b'{"cursor": null}', 422, "/cursor"),
        (b'{"cursor": []}', 422, "/cursor"),
        (b'{"cursor": true}', 422, "/cursor"),
        (b'{"cursor": "a\\u0000b"}', 422, "/cursor"),
        (b'{"cursor": 1, "surprise": 2}', 422, "/surprise"),
        (b'{"cursor": NaN}', 400, None),
        (b'{"cursor": 99999999999999999999999}', 400, None),
        (b'{"cursor": 1, "cursor": 2}', 400, None),
        (b"", 400, None),
    ],
)
def test_an_invalid_cursor_is_refused_and_changes_nothing(client, pipeline, body, status, pointer):
    path = state_of(pipeline())
    before = client.get(path).json()

    answer = client.put(path, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status, answer.text
    assert pointer is None or answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert client.get(path).json() == before


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_full_refresh_has_no_state_to_change(client, pipeline, method):
    body = {"json": {"cursor": 1}} if method == "PUT" else {}

    answer = client.request(method, state_of(pipeline(sync_mode="full_refresh")), **body)

    assert (answer.status_code, answer.json()["code"]) == (422, "state.not_incremental")


def test_state_is_for_those_who_may_see_and_change_the_pipeline(client, client_with_role, stranger, pipeline):
    path = state_of(pipeline())
    viewer = client_with_role("viewer")

    assert viewer.get(path).status_code == 200
    assert viewer.put(path, json={"cursor": 1}).status_code == 403
    assert viewer.delete(path).status_code == 403
    assert [stranger.get(path).status_code, stranger.delete(path).status_code] == [404, 404]
    assert stranger.put(path, json={"cursor": 1}).status_code == 404
    assert client.get(path).json()["pending"] is None
