import logging

import pytest
from sqlalchemy.exc import OperationalError

from headrace_dagster.telling import patient, run_log

AWAY = OperationalError("INSERT", {}, Exception("the server is away"))


class Storage:
    """Is away for its first `failures` calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[str] = []

    def write(self, event: str) -> None:
        if self.failures:
            self.failures -= 1
            raise AWAY
        self.written.append(event)


def test_an_event_is_told_once_dagsters_storage_is_back() -> None:
    storage = Storage(failures=2)

    patient(storage.write)("started")

    assert storage.written == ["started"]


def test_an_event_is_given_up_when_the_storage_stays_away() -> None:
    with pytest.raises(OperationalError):
        patient(Storage(failures=100).write, seconds=0)("started")


def test_a_line_that_dagster_does_not_take_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise AWAY

    dagster_log = logging.Logger("dagster")
    dagster_log.addHandler(Broken())

    run_log(dagster_log).info("%s rows", 3)

    assert "OperationalError" in caplog.text


def test_a_line_is_told_as_it_was_written() -> None:
    lines: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    dagster_log = logging.Logger("dagster")
    dagster_log.addHandler(Seen())

    run_log(dagster_log).warning("%d%% of %s", 50, "rows")

    assert lines == ["WARNING 50% of rows"]
