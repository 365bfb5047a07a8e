import pytest
from fakes.stored_jobs import FakeJobs, a_card
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from headrace_dagster.ui import labels


def client(jobs: FakeJobs) -> TestClient:
    return TestClient(Starlette(routes=labels.routes(jobs)))


def test_names_are_served_by_pipeline_id() -> None:
    card = a_card(name="Orders <b>")

    answer = client(FakeJobs(card)).get(labels.NAMES_PATH)

    assert answer.json() == {card.pipeline_id.hex: "Orders <b>"}


def test_unchanged_names_are_not_sent_again() -> None:
    jobs = FakeJobs(a_card())
    browser = client(jobs)
    etag = browser.get(labels.NAMES_PATH).headers["ETag"]

    unchanged = browser.get(labels.NAMES_PATH, headers={"If-None-Match": etag})
    jobs.put(a_card())
    changed = browser.get(labels.NAMES_PATH, headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200


def test_the_script_is_served_as_javascript() -> None:
    answer = client(FakeJobs()).get(labels.SCRIPT_PATH)

    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert labels.NAMES_PATH in answer.text


PAGE = "<html><head><title>Dagster</title></head><body>é</body></html>"
NONCE = {"Content-Security-Policy": "script-src 'self' 'nonce-abc123'"}


def a_ui(answer: Response) -> TestClient:
    """Answers every path alike, as Dagster's UI does."""

    def page(_request: Request) -> Response:
        return answer

    return TestClient(labels.with_names(Starlette(routes=[Route("/{path:path}", page)]), FakeJobs()))


@pytest.mark.parametrize(
    "page", [HTMLResponse(PAGE, headers=NONCE), StreamingResponse(iter([PAGE[:9], PAGE[9:]]), headers=NONCE)]
)
def test_a_page_of_the_ui_loads_the_script_with_its_nonce(page: Response) -> None:
    answer = a_ui(page).get("/jobs")

    script = f'<script defer src="{labels.SCRIPT_PATH}" nonce="abc123"></script>'
    assert answer.text == PAGE.replace("</head>", f"{script}</head>")
    assert answer.headers["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("answer", [HTMLResponse(PAGE), JSONResponse({"head": "</head>"})])
def test_an_answer_without_a_nonce_is_passed_on_as_it_is(answer: Response) -> None:
    assert a_ui(answer).get("/graphql").content == answer.body


def test_the_scripts_own_paths_do_not_reach_the_ui() -> None:
    ui = a_ui(HTMLResponse(PAGE))

    assert ui.get(labels.SCRIPT_PATH).headers["Content-Type"].startswith("text/javascript")
    assert ui.get(labels.NAMES_PATH).json() == {}
