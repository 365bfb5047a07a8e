"""Which records are new, and how a cursor is asked for."""

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.connectors import Unreadable
from headrace.connectors.rest.config import Incremental
from headrace.connectors.rest.incremental import Window, formatted

MOMENT = "2024-03-01T12:00:00.5Z"


def records(*values: Any) -> list[dict[str, Any]]:
    return [{"at": value} for value in values]


def window(after: Any, *, inclusive: bool = False, **spec: Any) -> Window:
    return Window(spec=Incremental(**spec), cursor_field="at", after=after, inclusive=inclusive)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("iso", MOMENT),
        ("date", "2024-03-01"),
        ("unix", 1709294400),
        ("unix_ms", 1709294400500),
        ("%d.%m.%Y", "01.03.2024"),
    ],
)
def test_a_time_is_written_as_the_api_takes_it(form: str, written: object):
    assert formatted(MOMENT, form) == written


@pytest.mark.parametrize(
    ("moment", "form", "written"),
    [
        ("2024-01-02T01:00:00+05:00", "date", "2024-01-01"),  # in UTC
        ("2024-01-02T01:00:00+05:00", "%Y-%m-%dT%H", "2024-01-01T20"),
        ("1969-12-31T23:59:58.5Z", "unix", -2),
        ("2024-03-01T12:00:00.999999Z", "unix", 1709294400),
        ("2024-03-01T12:00:00.999999Z", "unix_ms", 1709294400999),
    ],
)
def test_a_time_is_never_written_as_a_later_one(moment: str, form: str, written: object):
    assert formatted(moment, form) == written


def test_a_number_is_a_unix_time_already():
    assert formatted(1709294400, "unix") == 1709294400


def test_a_cursor_that_is_no_time_cannot_be_written_as_one():
    with pytest.raises(Unreadable):
        formatted("abc", "date")


def test_the_first_run_starts_at_the_initial_value_and_the_next_at_the_cursor():
    spec = {"start_param": "since", "initial_value": "2020-01-01"}

    assert window(None, **spec).params == {"since": "2020-01-01"}
    assert window(MOMENT, **spec).params == {"since": MOMENT}
    assert window(None, start_param="since").params == {}


def test_a_window_ends_at_the_end_value_or_now():
    now = datetime(2024, 1, 1, tzinfo=UTC)

    assert window(None, end_param="until", end_value=9).params == {"until": 9}
    assert Window(spec=Incremental(end_param="until", format="date"), now=now).params == {
        "until": "2024-01-01"
    }


def test_times_are_compared_as_times_and_not_as_texts():
    found = window("2024-01-01T00:00:00Z").new(
        records("2024-01-01T00:00:00.5Z", "2023-12-31T23:59:59.9Z", "2024-01-01T01:00:00+02:00")
    )

    assert found == records("2024-01-01T00:00:00.5Z")


def test_a_record_as_old_as_the_cursor_is_read_again_where_the_run_asks_for_it():
    assert window(5).new(records(4, 5, 6)) == records(6)
    assert window(5, inclusive=True).new(records(4, 5, 6)) == records(5, 6)


def test_numbers_in_quotes_are_compared_as_numbers():
    assert window("9").new(records("8", "9", "10")) == records("10")


def test_a_record_whose_age_cannot_be_told_is_never_left_out():
    odd = records(None, "x", True, {"a": 1}, [])

    assert window(5).new(odd) == odd


def test_reading_ends_where_the_newest_come_first_and_old_ones_follow():
    assert window(5).is_behind(records(7, 4))
    assert not window(5).is_behind(records(4, 7))
    assert not window(None).is_behind(records(7, 4))


@pytest.mark.parametrize(
    ("values", "asc", "desc"),
    [
        ([1, 2, 2, 10], True, False),
        (["10", "9", "9"], False, True),
        (["2024-01-01T00:00:00Z", None, "2024-01-01T01:00:00+01:00"], True, True),
        ([1, "x"], False, False),
        ([3], True, True),
        ([None, None], True, True),
    ],
)
def test_an_order_is_of_values_and_not_of_texts(values: list[Any], asc: bool, desc: bool):
    found = window(None)

    assert (found.runs(records(*values), None, "asc"), found.runs(records(*values), None, "desc")) == (
        asc,
        desc,
    )


def test_an_order_goes_on_from_page_to_page():
    assert not window(None).runs(records(2, 3), 4, "asc")
    assert window(None).last(records(1, 2, None)) == 2
