from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from fakes.dagster import PAGE_LINES, FakeDagster

from headrace.records import Run, RunStatus, TriggeredBy
from headrace_api.dagster.log import LogLine
from headrace_api.resources.run_logs import InvalidEventId, follow, read, render

NOON = datetime(2024, 1, 15, 12, 0, tzinfo=UTC)


def line(message: str, *, at: datetime = NOON, level: str = "INFO") -> LogLine:
    return LogLine(at=at, level=level, message=message)


def lines(*messages: str) -> list[LogLine]:
    return [line(message) for message in messages]


def run(dagster_run_id: str | None, status: RunStatus = RunStatus.RUNNING) -> Run:
    return Run(
        id=uuid4(),
        organization_id=uuid4(),
        pipeline_id=uuid4(),
        status=status,
        triggered_by=TriggeredBy.MANUAL,
        scheduled_at=None,
        attempt=1,
        dagster_run_id=dagster_run_id,
        fence=1,
        created_at=NOON,
        started_at=NOON,
        finished_at=None,
        error_code=None,
        error=None,
        rows=None,
        bytes=None,
        phase=None,
        output_file=None,
        output_file_size=None,
    )


@pytest.fixture
def dagster() -> FakeDagster:
    return FakeDagster()


def ended(dagster: FakeDagster, *messages: str) -> Callable[[], Run]:
    dagster_run_id = dagster.add(None, RunStatus.SUCCESS)
    dagster.lines[dagster_run_id] = lines(*messages)
    return lambda: run(dagster_run_id, RunStatus.SUCCESS)


def test_lines_read_as_the_contract_shows_them() -> None:
    text = render(
        [
            line("Starting pipeline...", at=datetime(2024, 1, 15, 16, 0, tzinfo=UTC)),
            line(
                "Slow",
                at=datetime(2024, 1, 15, 18, 0, 1, 999999, timezone(timedelta(hours=2))),
                level="WARNING",
            ),
        ]
    )

    assert text == "2024-01-15 16:00:00 INFO Starting pipeline...\n2024-01-15 16:00:01 WARNING Slow"


def test_a_log_without_lines_is_empty() -> None:
    assert render([]) == ""


def test_a_run_that_dagster_does_not_know_has_an_empty_log(dagster: FakeDagster) -> None:
    assert list(read(dagster, run(None))) == []
    assert list(read(dagster, run("gone"))) == []


def test_a_log_of_several_pages_is_read_to_its_end(dagster: FakeDagster) -> None:
    messages = [str(number) for number in range(2 * PAGE_LINES + 1)]
    look_up = ended(dagster, *messages)

    assert [found.message for found in read(dagster, look_up())] == messages


def test_following_a_run_that_has_ended_gives_its_log_and_ends(dagster: FakeDagster) -> None:
    messages = [str(number) for number in range(2 * PAGE_LINES + 1)]

    followed = list(follow(dagster, ended(dagster, *messages)))

    assert [entry[1].message for entry in followed if entry] == messages
    assert None not in followed


def test_following_can_be_resumed_after_any_line(dagster: FakeDagster) -> None:
    look_up = ended(dagster, *(str(number) for number in range(2 * PAGE_LINES + 1)))
    whole = [entry for entry in follow(dagster, look_up) if entry]

    for position, (event_id, _line) in enumerate(whole, start=1):
        rest = [entry for entry in follow(dagster, look_up, event_id) if entry]

        assert rest == whole[position:]


def test_an_id_stays_valid_when_its_page_has_grown(dagster: FakeDagster) -> None:
    dagster_run_id = dagster.add(None)
    dagster.lines[dagster_run_id] = lines("one")
    first = next(follow(dagster, lambda: run(dagster_run_id)))
    assert first is not None
    dagster.lines[dagster_run_id] += lines("two", "three", "four", "five")

    follower = follow(dagster, lambda: run(dagster_run_id), first[0])

    assert [entry[1].message for entry in (next(follower) for _ in range(4)) if entry] == [
        "two",
        "three",
        "four",
        "five",
    ]


def test_a_follower_is_told_when_there_is_nothing_for_now(dagster: FakeDagster) -> None:
    dagster_run_id = dagster.add(None)
    dagster.lines[dagster_run_id] = lines("one")
    follower = follow(dagster, lambda: run(dagster_run_id))

    first, nothing = next(follower), next(follower)
    dagster.lines[dagster_run_id] += lines("two")
    second = next(follower)

    assert nothing is None
    assert [entry[1].message for entry in (first, second) if entry] == ["one", "two"]


def test_a_follower_waits_for_a_run_that_dagster_does_not_know_yet(dagster: FakeDagster) -> None:
    dagster_run_id = dagster.add(None)
    dagster.lines[dagster_run_id] = lines("one")
    current = [run(None, RunStatus.PENDING)]
    follower = follow(dagster, lambda: current[0])

    nothing = next(follower)
    current[0] = run(dagster_run_id)

    assert nothing is None
    entry = next(follower)
    assert entry is not None
    assert entry[1].message == "one"


def test_lines_written_after_the_run_ended_are_not_lost(dagster: FakeDagster) -> None:
    dagster_run_id = dagster.add(None)
    follower = follow(dagster, lambda: run(dagster_run_id, RunStatus.SUCCESS))

    nothing = next(follower)
    dagster.lines[dagster_run_id] = lines("Published.")
    last = next(follower)
    dagster.end(dagster_run_id, RunStatus.SUCCESS)

    assert nothing is None
    assert last is not None
    assert last[1].message == "Published."
    assert list(follower) == []


def test_a_run_cancelled_before_its_launch_has_nothing_to_follow(dagster: FakeDagster) -> None:
    assert list(follow(dagster, lambda: run(None, RunStatus.CANCELLED))) == []


@pytest.mark.parametrize("event_id", ["seven", ":", "-1:abc", "x:abc"])
def test_an_unknown_event_id_is_refused(event_id: str, dagster: FakeDagster) -> None:
    with pytest.raises(InvalidEventId):
        next(follow(dagster, ended(dagster, "one"), event_id))
