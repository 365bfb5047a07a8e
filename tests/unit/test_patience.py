import pytest

from headrace.errors import Unavailable
from headrace.patience import patiently


def test_work_is_repeated_while_its_errors_may_pass() -> None:
    errors = [Unavailable("away"), Unavailable("away")]
    heard: list[Exception] = []

    def work() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert patiently(work, passing=Unavailable, seconds=10, told=heard.append) == "done"
    assert len(heard) == 2


def test_the_last_error_is_raised_and_others_at_once() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        patiently(work, passing=ValueError, seconds=0)
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        patiently(work, passing=Unavailable, seconds=10)

    assert len(calls) == 2
