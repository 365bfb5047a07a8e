"""What Headrace says of a schedule is what Dagster's daemon does."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from dagster._core.remote_representation.external_data import ScheduleSnap
from dagster._core.remote_representation.handle import RepositoryHandle
from dagster._utils.schedules import is_valid_cron_schedule, schedule_execution_time_iterator
from dagster_shared.check.functions import CheckError
from effort import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.schedule import InvalidSchedule, next_slots, normalize_schedule
from headrace_dagster.private.remote_repository import LeapYearSchedule

ZONES = ("UTC", "America/New_York", "Europe/London", "Europe/Berlin", "Australia/Sydney", "Asia/Kolkata")
CHANGES = (
    datetime(2024, 3, 10, 7, tzinfo=UTC),  # New York
    datetime(2024, 11, 3, 6, tzinfo=UTC),
    datetime(2024, 3, 31, 1, tzinfo=UTC),  # London, Berlin
    datetime(2024, 10, 27, 1, tzinfo=UTC),
    datetime(2024, 10, 5, 16, tzinfo=UTC),  # Sydney
    datetime(2024, 4, 6, 16, tzinfo=UTC),
    datetime(2024, 2, 29, 0, tzinfo=UTC),
)
MONTHS = ("jan", "Feb", "MAR", "apr", "dec")
WEEKDAYS = ("sun", "Mon", "TUE", "fri", "sat")


def cron_fields(lowest: int, highest: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    values = st.integers(lowest, highest).map(str)
    if names:
        values |= st.sampled_from(names)
    steps = st.integers(1, highest).map(str)
    item = (
        values
        | st.builds("{}-{}".format, values, values)
        | st.builds("*/{}".format, steps)
        | st.builds("{}/{}".format, values, steps)
        | st.builds("{}-{}/{}".format, values, values, steps)
    )
    return st.just("*") | st.lists(item, min_size=1, max_size=3).map(",".join)


nth_weekdays = st.builds("{}#{}".format, st.sampled_from(WEEKDAYS), st.integers(1, 5)) | st.builds(
    "L{}".format, st.integers(0, 7)
)
crons = st.tuples(
    cron_fields(0, 59),
    cron_fields(0, 23),
    cron_fields(1, 31) | st.sampled_from(["L", "1,L"]),
    cron_fields(1, 12, MONTHS),
    cron_fields(0, 7, WEEKDAYS) | nth_weekdays,
).map(" ".join)


def dagster_slots(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """Ask what the daemon asks."""
    unused = dict.fromkeys(("op_selection", "mode", "environment_vars", "partition_set_name"))
    snapshot = ScheduleSnap("any", cron, "any", execution_timezone=timezone, **unused)
    slots = LeapYearSchedule(snapshot, RepositoryHandle.for_test()).execution_time_iterator(after.timestamp())
    later = (slot.astimezone(UTC) for slot in slots if slot > after)
    return list(itertools.islice(later, count))


@given(text=crons | st.text(max_size=30) | st.from_regex(r"[0-9*/,\-LRHW#? ]{5,20}", fullmatch=True))
def test_every_accepted_schedule_is_one_that_dagster_accepts(text: str):
    try:
        cron = normalize_schedule(text)
    except InvalidSchedule:
        return

    assert cron is None or is_valid_cron_schedule(cron)


@settings(max_examples=examples(75))
@given(
    text=crons,
    timezone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    before=st.integers(-180, 1500),
)
def test_the_slots_of_any_schedule_are_dagsters(text: str, timezone: str, change: datetime, before: int):
    try:
        cron = normalize_schedule(text)
    except InvalidSchedule:
        assume(False)
    after = change - timedelta(minutes=before)

    assert next_slots(cron, timezone, after, 8) == dagster_slots(cron, timezone, after, 8)


@pytest.mark.parametrize("cron", ["0 0 29 * *", "0 0 29-31 * *", "29,31 */23,*/21 29,31 * *"])
def test_a_schedule_of_a_months_last_days_fires_on_whatever_day_of_a_leap_year_it_is_stored(cron: str):
    for day in range(366):
        after = datetime(2024, 1, 1, 7, tzinfo=UTC) + timedelta(days=day)

        assert dagster_slots(cron, "UTC", after, 3) == next_slots(cron, "UTC", after, 3)


def test_dagster_itself_gives_up_on_them_in_march():
    slots = schedule_execution_time_iterator(
        datetime(2024, 3, 10, tzinfo=UTC).timestamp(), "0 0 29 * *", "UTC"
    )

    with pytest.raises(CheckError):  # once it does not, LeapYearSchedule has nothing to do
        next(slots)


@pytest.mark.parametrize("timezone", [*ZONES, "America/St_Johns", "Pacific/Auckland"])
@pytest.mark.parametrize(
    "cron",
    [
        "@hourly",
        "@daily",
        "@weekly",
        "@monthly",
        "*/20 * * * *",
        "* * * * *",
        "30 1 * * *",
        "30 2 * * *",
        "0 3 * * sun",
        "15,45 1,2 * * *",
        "0 */2 * * *",
        "0 0 29 feb *",
        "0 0 * * L5",
        "0 0 * 2 mon#5",
    ],
)
def test_the_slots_of_common_schedules_are_dagsters_over_every_change(cron: str, timezone: str):
    for change in CHANGES:
        after = change - timedelta(hours=25)

        assert next_slots(cron, timezone, after, 10) == dagster_slots(cron, timezone, after, 10)


@pytest.mark.parametrize(
    "timezone",
    ["America/Havana", "America/Santiago", "Africa/Cairo", "Asia/Beirut", "Atlantic/Azores", "Europe/Dublin"],
)
@pytest.mark.parametrize("cron", ["@daily", "30 0 * * *", "30 23 * * *", "30 1 * * *"])
def test_where_clocks_change_in_other_ways_a_slot_is_at_most_an_hour_off(cron: str, timezone: str):
    ours = next_slots(cron, timezone, datetime(2024, 1, 1, tzinfo=UTC), 366)
    theirs = dagster_slots(cron, timezone, datetime(2024, 1, 1, tzinfo=UTC), 366)
    differences = [abs(our - their) for our, their in zip(ours, theirs, strict=True) if our != their]

    assert len(differences) <= 2
    assert all(difference <= timedelta(hours=1) for difference in differences)
