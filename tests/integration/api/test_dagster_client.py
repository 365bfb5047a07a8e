"""The client against a real webserver that launches real processes."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from headrace.records import RunStatus
from headrace_api.dagster import client as client_module
from headrace_api.dagster.client import DagsterClient, DagsterRunNotFound, JobNotFound
from headrace_api.dagster.runs import DagsterRun

pytestmark = pytest.mark.slow

QUICK, SLOW, FAILING, STUBBORN = (UUID(int=number) for number in range(1, 5))  # as in small_jobs.py


def eventually(
    dagster: DagsterClient, dagster_run_id: str, holds: Callable[[DagsterRun], bool]
) -> DagsterRun:
    deadline = time.monotonic() + 60
    while True:
        [run] = dagster.runs([dagster_run_id])
        if holds(run):
            return run
        assert time.monotonic() < deadline, f"still {run.dagster_status}"
        time.sleep(0.1)


def has_ended(run: DagsterRun) -> bool:
    return run.status.is_terminal


def is_running(run: DagsterRun) -> bool:
    return run.dagster_status == "STARTED"


def test_a_launched_run_carries_its_tags_and_its_log_reads_cleanly(dagster: DagsterClient) -> None:
    run_id = uuid4()

    dagster_run_id = dagster.launch(QUICK, run_id)
    ended = eventually(dagster, dagster_run_id, has_ended)

    assert ended.status is RunStatus.SUCCESS
    assert [run.id for run in dagster.find_by_run_tag(run_id)] == [dagster_run_id]
    assert dagster_run_id in [run.id for run in dagster.find_by_pipeline_tag(QUICK)]
    page = dagster.logs(dagster_run_id)
    assert [(line.level, line.message) for line in page.lines] == [
        ("INFO", "Starting pipeline quick"),
        ("WARNING", "Two\nlines"),
    ]
    assert (page.more, page.ended) == (False, True)
    assert abs(page.lines[0].at.timestamp() - time.time()) < 60
    assert dagster.logs(dagster_run_id, page.cursor).lines == ()


def test_a_failed_run_says_why_once(dagster: DagsterClient) -> None:
    dagster_run_id = dagster.launch(FAILING, uuid4())

    ended = eventually(dagster, dagster_run_id, has_ended)

    assert ended.status is RunStatus.FAILED
    assert [(line.level, line.message) for line in dagster.logs(dagster_run_id).lines] == [
        ("ERROR", "source.refused: HTTP 401.")
    ]


def test_a_running_run_is_followed_page_by_page_and_terminated(dagster: DagsterClient) -> None:
    dagster_run_id = dagster.launch(SLOW, uuid4())
    running = eventually(dagster, dagster_run_id, is_running)
    first = dagster.logs(dagster_run_id)
    while not first.lines:
        first = dagster.logs(dagster_run_id)
    time.sleep(0.3)
    second = dagster.logs(dagster_run_id, first.cursor)

    dagster.terminate(running)
    ended = eventually(dagster, dagster_run_id, has_ended)
    dagster.terminate(running)

    assert ended.status is RunStatus.CANCELLED
    numbers = [int(line.message.removeprefix("Step ")) for line in (*first.lines, *second.lines)]
    assert numbers == list(range(len(numbers)))
    assert second.lines


def test_a_run_is_cancelled_at_any_point_of_its_start(dagster: DagsterClient) -> None:
    dagster_run_id = dagster.launch(SLOW, uuid4())

    def ended_when_told_again(run: DagsterRun) -> bool:
        dagster.terminate(run)
        return has_ended(run)

    assert eventually(dagster, dagster_run_id, ended_when_told_again).status is RunStatus.CANCELLED


def test_a_worker_that_will_not_stop_is_given_up(
    dagster: DagsterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster_run_id = dagster.launch(STUBBORN, uuid4())
    dagster.terminate(eventually(dagster, dagster_run_id, is_running))
    canceling = eventually(dagster, dagster_run_id, lambda run: run.dagster_status == "CANCELING")

    dagster.terminate(canceling)
    [still_canceling] = dagster.runs([dagster_run_id])
    monkeypatch.setattr(client_module, "STUCK_SECONDS", 0.0)
    dagster.terminate(canceling)

    assert still_canceling.dagster_status == "CANCELING"
    assert eventually(dagster, dagster_run_id, has_ended).status is RunStatus.CANCELLED


def test_a_pipeline_without_a_job_is_not_launched(dagster: DagsterClient) -> None:
    with pytest.raises(JobNotFound):
        dagster.launch(uuid4(), uuid4())


def test_a_deleted_run_is_gone_with_its_log(dagster: DagsterClient) -> None:
    run_id = uuid4()
    dagster_run_id = dagster.launch(QUICK, run_id)
    eventually(dagster, dagster_run_id, has_ended)

    dagster.delete_run(dagster_run_id)
    dagster.delete_run(dagster_run_id)

    assert dagster.find_by_run_tag(run_id) == []
    assert dagster.runs([dagster_run_id]) == []
    with pytest.raises(DagsterRunNotFound):
        dagster.logs(dagster_run_id)


def test_wiped_assets_leave_the_catalogue(dagster: DagsterClient) -> None:
    eventually(dagster, dagster.launch(QUICK, uuid4()), has_ended)
    before = dagster.assets(QUICK)

    dagster.wipe_assets(QUICK)
    dagster.wipe_assets(QUICK)

    assert len(before) == 1
    assert dagster.assets(QUICK) == []


def test_stopping_or_deleting_an_unknown_run_is_no_error(dagster: DagsterClient) -> None:
    ghost = eventually(dagster, dagster.launch(QUICK, uuid4()), has_ended)
    dagster.delete_run(ghost.id)

    dagster.terminate(ghost)


def test_the_code_location_reloads(dagster: DagsterClient) -> None:
    dagster.reload()

    assert dagster.health().code_location


def test_health_reports_each_part(dagster: DagsterClient) -> None:
    status = dagster.health()

    assert (status.webserver, status.code_location, status.daemon) == (True, True, False)
    assert (status.details["webserver"], status.details["code_location"]) == (
        "Answers.",
        "Loaded, and takes runs.",
    )
    assert "SCHEDULER" in status.details["daemon"]


def test_one_client_serves_many_threads(dagster: DagsterClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: dagster.find_by_run_tag(uuid4()), range(40)))

    assert answers == [[]] * 40
