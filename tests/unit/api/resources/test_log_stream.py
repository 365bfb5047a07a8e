"""A followed log while Dagster fails."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from headrace.records import RunStatus
from headrace_api.dagster.graphql import DagsterUnavailable
from headrace_api.dagster.log import LogLine, LogPage
from headrace_api.resources.log_stream import EVENTS_AT_ONCE, _Stream


class Faltering:
    """Serves pages of a few lines each, and fails when `failures` says so."""

    def __init__(self, lines, page, failures=()):
        self.lines = [LogLine(at=datetime(2024, 1, 15, tzinfo=UTC), level="INFO", message=m) for m in lines]
        self.page = page
        self.failures = list(failures)
        self.asked = 0

    def logs(self, dagster_run_id, cursor=None):
        self.asked += 1
        if self.asked in self.failures:
            raise DagsterUnavailable("Dagster cannot be reached.")
        start = int(cursor or 0)
        end = min(start + self.page, len(self.lines))
        return LogPage(
            lines=tuple(self.lines[start:end]), cursor=str(end), more=end < len(self.lines), ended=True
        )


def run():
    return SimpleNamespace(dagster_run_id="d", status=RunStatus.SUCCESS)


def messages(text):
    return [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("failing", range(1, 8))
def test_no_line_is_lost_or_repeated_when_a_poll_fails(failing):
    lines = [f"line{number}" for number in range(6)]
    stream = _Stream(Faltering(lines, page=2, failures=[failing]), run, None)
    told = []

    for _ in range(10):
        try:
            told += messages(stream.poll())
        except DagsterUnavailable:
            continue

    assert told == lines
    assert stream.ended


def test_a_long_log_is_sent_in_parts():
    lines = [f"line{number}" for number in range(EVENTS_AT_ONCE + 1)]
    stream = _Stream(Faltering(lines, page=10_000), run, None)

    first, second = messages(stream.poll()), messages(stream.poll())

    assert (len(first), second) == (EVENTS_AT_ONCE, lines[-1:])
