from datetime import UTC, datetime

import pytest

from headrace_api.dagster.log import LogLine, log_page


def event(kind: str, message: str, *, level: str = "INFO", error: str | None = None) -> dict[str, object]:
    return {
        "__typename": kind,
        "message": message,
        "timestamp": "1705334400123",
        "level": level,
        "error": {"message": error} if error else None,
    }


def messages(*events: dict[str, object]) -> list[str]:
    page = log_page({"events": list(events), "cursor": "c", "hasMore": False}, ended=False)
    return [line.message for line in page.lines]


def test_a_workers_message_is_a_line_as_it_was_logged() -> None:
    page = log_page(
        {
            "events": [event("LogMessageEvent", "Read 5 rows.", level="WARNING")],
            "cursor": "c",
            "hasMore": True,
        },
        ended=True,
    )

    at = datetime(2024, 1, 15, 16, 0, 0, 123000, UTC)
    assert page.lines == (LogLine(at=at, level="WARNING", message="Read 5 rows."),)
    assert (page.cursor, page.more, page.ended) == ("c", True, True)


@pytest.mark.parametrize("kind", ["RunStartEvent", "EngineEvent", "ExecutionStepStartEvent", "NewInDagster2"])
def test_dagsters_bookkeeping_is_left_out(kind: str) -> None:
    assert messages(event(kind, "Started process 7.")) == []


def test_a_failed_step_reads_as_its_reason_without_the_exceptions_class() -> None:
    failed = event(
        "ExecutionStepFailureEvent",
        'Execution of step "extract_load" failed.',
        error="dagster._core.definitions.events.Failure: source.refused: HTTP 401.\n",
    )

    assert messages(failed) == ["source.refused: HTTP 401."]


def test_a_step_that_was_interrupted_says_so() -> None:
    interrupted = event("ExecutionStepFailureEvent", "Failed.", error="x.DagsterExecutionInterruptedError\n")

    assert messages(interrupted) == ["The run was told to stop."]


def test_a_worker_that_could_not_begin_says_why_in_our_own_words_only() -> None:
    ours = event(
        "EngineEvent", "Could not load job.", error="headrace.keyring.MissingKeys: Key 0 is missing.\n"
    )
    foreign = event(
        "EngineEvent", "Could not load job.", error="psycopg.OperationalError: password=hunter2\n"
    )

    assert messages(ours, foreign) == [
        "Could not load job. Key 0 is missing.",
        "Could not load job. (psycopg.OperationalError)",
    ]


def test_a_runs_failure_that_repeats_its_steps_is_no_line() -> None:
    repeated = event("RunFailureEvent", "Execution of run for \"p\" failed. Steps failed: ['extract_load'].")

    assert messages(repeated) == []


def test_a_runs_own_failure_is_a_line() -> None:
    assert messages(event("RunFailureEvent", "Run process exited unexpectedly.")) == [
        "Run process exited unexpectedly."
    ]
