"""Dagster's UI and the REST docs in a real browser, on the real processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest
from browser import Browser, browsing, chromium
from live_platform import LivePlatform, on

from headrace.naming import LOCATION, REPOSITORY, asset_key, job_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine to look with"),
    on("sqlite"),  # the pages are the same whatever holds the records
]

NAME = 'Creatures, "quoted" & <b>bold</b> *stars* 🦄'

LAUNCH = """mutation Launch($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: { selector: $selector, executionMetadata: { tags: [] } }) {
    __typename ... on LaunchRunSuccess { run { runId } } } }"""


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that nobody has used."""
    with browsing(tmp_path_factory.mktemp("browser") / "profile", str(chromium())) as started:
        yield started


def sign_in_link(platform: LivePlatform) -> str:
    command = [sys.executable, "-m", "headrace.cli.main", "ui", "--home", str(platform.home)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def launch(browser: Browser, job: str) -> str:
    """Launch a run as the UI does, from its page and with its session; return Dagster's run id."""
    selector = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "pipelineName": job}
    body = json.dumps({"query": LAUNCH, "variables": {"selector": selector}})
    answer = browser.run(
        f"""fetch("/graphql", {{ method: "POST", headers: {{ "Content-Type": "application/json" }},
        body: {json.dumps(body)} }}).then((answer) => answer.json())"""
    )
    run_id: str = answer["data"]["launchRun"]["run"]["runId"]
    return run_id


def test_a_pipeline_is_found_run_and_looked_at_in_dagsters_ui(
    platform: LivePlatform, browser: Browser
) -> None:
    ui = platform.addresses.dagster_url
    pipeline = UUID(
        platform.create(NAME, {"name": "dummy", "stream": "creatures"}, tags=["owner:maria@example.com"])
    )
    job = job_name(pipeline)

    browser.open(sign_in_link(platform))
    browser.open(f"{ui}/jobs")
    browser.sees(NAME)
    browser.open(f"{ui}/locations/{LOCATION}/jobs/{job}")
    page = browser.sees(NAME, "dummy.creatures → logger", "maria@example.com", "REST resource")
    run_id = launch(browser, job)
    browser.open(f"{ui}/runs/{run_id}")
    browser.sees("RUN_SUCCESS", "Extracted 5 rows", f"{NAME}: 5 rows")
    browser.open("/".join((ui, "assets", *asset_key(pipeline, "dummy", "creatures"))))
    entry = browser.sees(NAME, "Row count", "family", "maria@example.com")

    assert job not in page
    assert pipeline.hex[:4] not in entry
    assert browser.complaints == []
    assert browser.elsewhere(ui) == []


def test_every_search_finds_a_pipeline_by_its_name(platform: LivePlatform, browser: Browser) -> None:
    ui = platform.addresses.dagster_url
    ids = {
        name: platform.create(name, {"name": "dummy", "stream": "creatures"}, schedule="@yearly")
        for name in ("Sought herbarium", "Other aquarium")
    }
    sought = job_name(UUID(ids["Sought herbarium"]))

    browser.open(sign_in_link(platform))
    for page in ("jobs", "automation"):
        browser.open(f"{ui}/{page}")
        browser.sees(*ids)
        browser.click(".CodeMirror")
        browser.type("ght HERB")
        browser.press("Enter", "\r")
        browser.sees_no("Other aquarium")
        browser.sees("Sought herbarium")
    browser.open(f"{ui}/locations/{LOCATION}/jobs")
    browser.sees(*ids)
    browser.click("input[placeholder^='Search jobs']")
    browser.type("ght HERB")
    browser.sees_no("Other aquarium")
    browser.sees("Sought herbarium")
    browser.open(f"{ui}/deployment/locations")
    browser.press("Slash", "/")
    browser.click("input[placeholder^='Search assets']")
    browser.type("herbarium")
    browser.sees("Sought herbarium", "pipelines / Sought herbarium / dummy / creatures")
    browser.press("Enter", "\r")
    browser.sees("REST resource")

    assert browser.run("location.pathname") == f"/locations/{LOCATION}/jobs/{sought}"
    assert browser.complaints == []


def test_a_failed_run_shows_its_coded_error_and_no_stack(platform: LivePlatform, browser: Browser) -> None:
    ui = platform.addresses.dagster_url
    failing = {"name": "dummy", "stream": "creatures", "records": 200, "fail_after": 100}
    run = platform.ended_run(platform.run(platform.create("Fails", failing)))

    browser.open(sign_in_link(platform))
    browser.open(f"{ui}/runs/{run['dagster_run_id']}")
    page = browser.sees("RUN_FAILURE", "source.unreadable: The source was asked to fail after 100 records.")

    assert "Stack Trace" not in page
    assert browser.complaints == []


def test_a_token_signs_in_and_a_wrong_one_does_not(platform: LivePlatform, browser: Browser) -> None:
    browser.open(platform.addresses.dagster_url)
    browser.sees("API token")
    browser.type("guessed")
    browser.click("button", "Sign in")
    browser.sees("unknown, revoked or expired")
    browser.click("input[type=password]")
    browser.type(platform.token)
    browser.click("button", "Sign in")
    browser.sees("Overview", "Jobs", "Automation")

    assert browser.elsewhere(platform.addresses.dagster_url) == []


def test_the_rest_docs_are_read_and_tried_out(platform: LivePlatform, browser: Browser) -> None:
    browser.open(f"{platform.addresses.url}/docs")
    browser.sees("Create a pipeline", "Authorize")
    browser.click("button.authorize")
    browser.click(".auth-container input")
    browser.type(platform.token)
    browser.click(".auth-btn-wrapper button.authorize")
    browser.click(".btn-done")
    browser.click(".opblock-summary-path", "/api/stats")
    browser.click(".execute")
    browser.sees("Response body", "pipelines")

    status = "document.querySelector('.live-responses-table tbody .response-col_status').innerText"
    assert browser.run(status).startswith("200")
    assert browser.complaints == []
    assert browser.elsewhere(platform.addresses.url) == []
