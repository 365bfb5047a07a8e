from fakes.stored_jobs import FakeJobs, a_card
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headrace_dagster import labels


def client(jobs: FakeJobs) -> TestClient:
    return TestClient(Starlette(routes=labels.routes(jobs)))


def test_names_are_told_by_the_pipelines_ids() -> None:
    card = a_card(name="Orders <b>")

    answer = client(FakeJobs(card)).get(labels.NAMES_PATH)

    assert answer.json() == {card.pipeline_id.hex: "Orders <b>"}


def test_unchanged_names_are_not_told_again() -> None:
    jobs = FakeJobs(a_card())
    browser = client(jobs)
    etag = browser.get(labels.NAMES_PATH).headers["ETag"]

    unchanged = browser.get(labels.NAMES_PATH, headers={"If-None-Match": etag})
    jobs.put(a_card())
    changed = browser.get(labels.NAMES_PATH, headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200


def test_the_script_is_served_as_one() -> None:
    answer = client(FakeJobs()).get(labels.SCRIPT_PATH)

    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert labels.NAMES_PATH in answer.text
