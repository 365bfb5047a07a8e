from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schedule import (
    InvalidSchedule,
    InvalidTimezone,
    check_timezone,
    has_slot,
    next_slots,
    normalize_schedule,
    slots_between,
)

PARIS_SPRINGS_FORWARD = datetime(2024, 3, 30, 12, tzinfo=UTC)  # 2:00 becomes 3:00 the next day
PARIS_FALLS_BACK = datetime(2024, 10, 26, 12, tzinfo=UTC)  # 3:00 becomes 2:00 the next day


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, ""])
def test_no_schedule_means_by_hand_only(text: str | None):
    assert normalize_schedule(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "0 8 * * mon-fri",
        "0 8 * * MON-FRI",
        "*/15 0-6,20-23 1,15 jan-jun *",
        "10-50/20 * * * *",
        "5/10 * * * *",
        "0 0 L * *",
        "0 0 * * fri#2",
        "0 0 * * L5",
        "0 0 29 2 *",
        "0 0 31 * *",
        "0 0 * * 7",
        "0 0 * nov-feb sat-mon",
        "@daily",
        "@hourly",
        "@yearly",
    ],
)
def test_the_usual_forms_are_kept_as_they_are(text: str):
    assert normalize_schedule(text) == text


@pytest.mark.parametrize(
    ("text", "stored"),
    [("  0   8 * *  * ", "0 8 * * *"), ("@Daily", "@daily"), (" @weekly ", "@weekly")],
)
def test_spaces_and_the_case_of_an_alias_do_not_matter(text: str, stored: str):
    assert normalize_schedule(text) == stored


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("   ", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("0 0 * * * 0 2030", "five fields"),
        ("@reboot", "five fields"),
        ("every day", "five fields"),
        ("R * * * *", "minute must be a number"),
        ("R(0-9) * * * *", "minute must be a number"),
        ("H * * * *", "minute must be a number"),
        ("0 0 15W * *", "day of month must be a number"),
        ("0 0 ? * *", "day of month must be a number"),
        ("0 0 * * fri#6", "day of week must be a number"),
        ("0 0 1 * fri#1", "counted in the month"),
        ("60 * * * *", "minute must be from 0 to 59"),
        ("0 24 * * *", "hour must be from 0 to 23"),
        ("0 0 0 * *", "day of month must be from 1 to 31"),
        ("0 0 * 13 *", "month must be from 1 to 12"),
        ("0 0 * mon *", "month must be from 1 to 12"),
        ("0 0 * * 8", "day of week must be from 0 to 7"),
        ("-1 * * * *", "minute must be a number"),
        ("1- * * * *", "minute must be a number"),
        ("1,,2 * * * *", "minute must be a number"),
        ("*/0 * * * *", "minute must be a number"),
        ("*-5 * * * *", "range that starts"),
        ("5-5 * * * *", "does not increase"),
        ("30-10/5 * * * *", "does not increase"),
        ("59/5 * * * *", "does not increase"),
        ("0 0 31 2 *", "None of these months"),
        ("0 0 30,31 feb *", "None of these months"),
        ("0 0 31 4,6,9,11 *", "None of these months"),
        ("0 0 31 4 mon", "None of these months"),
        ("0\t8 * * *", "characters"),
        ("0 8 * * *\n", "characters"),
        ("0 8 * * *\x00", "characters"),
        ("\u0660 8 * * *", "characters"),
        ("0\u00a08 * * *", "characters"),
        ("0 " * 51, "longer than 100"),
    ],
)
def test_what_no_daemon_could_follow_is_refused_with_its_reason(text: str, reason: str):
    with pytest.raises(InvalidSchedule, match=reason) as caught:
        normalize_schedule(text)

    assert [fault.pointer for fault in caught.value.errors] == ["/schedule"]
    assert caught.value.code == "pipeline.schedule_invalid"


def test_a_schedule_of_exactly_100_characters_is_accepted():
    minutes = ",".join(["10"] * 30) + ",100"
    text = minutes.replace(",100", ",11") + " 8 * * *"
    padded = text.replace(" 8", " " * (101 - len(text)) + "8")

    assert len(padded) == 100
    assert normalize_schedule(padded) == text
    with pytest.raises(InvalidSchedule, match="longer"):
        normalize_schedule(padded + " ")


@given(st.text(max_size=120))
def test_any_text_is_either_stored_in_a_stable_form_or_refused(text: str):
    try:
        stored = normalize_schedule(text)
    except InvalidSchedule:
        return

    assert normalize_schedule(stored) == stored


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Asia/Kolkata"])
def test_an_iana_time_zone_is_kept_as_it_is(name: str):
    assert check_timezone(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "europe/paris", "Europe", "../etc/passwd", "/UTC", "+02:00", "localtime", "Ü"],
)
def test_any_other_time_zone_is_refused(name: str):
    with pytest.raises(InvalidTimezone) as caught:
        check_timezone(name)

    assert [fault.pointer for fault in caught.value.errors] == ["/timezone"]
    assert name == "" or name not in caught.value.detail


def test_slots_are_later_than_the_moment_asked_for():
    on_a_slot = utc(2024, 1, 15, 8)

    assert next_slots("0 8 * * *", "UTC", on_a_slot, 2) == [utc(2024, 1, 16, 8), utc(2024, 1, 17, 8)]


def test_slots_follow_the_clock_of_their_time_zone():
    before_and_after = next_slots("0 12 * * *", "Europe/Paris", PARIS_SPRINGS_FORWARD - timedelta(days=1), 3)

    assert before_and_after == [utc(2024, 3, 30, 11), utc(2024, 3, 31, 10), utc(2024, 4, 1, 10)]


def test_a_daily_time_that_is_skipped_runs_at_the_end_of_the_gap():
    assert next_slots("30 2 * * *", "Europe/Paris", PARIS_SPRINGS_FORWARD, 2) == [
        utc(2024, 3, 31, 1),
        utc(2024, 4, 1, 0, 30),
    ]


def test_a_daily_time_that_comes_twice_runs_the_second_time():
    assert next_slots("30 2 * * *", "Europe/Paris", PARIS_FALLS_BACK, 2) == [
        utc(2024, 10, 27, 1, 30),
        utc(2024, 10, 28, 1, 30),
    ]


@pytest.mark.parametrize("after", [PARIS_SPRINGS_FORWARD, PARIS_FALLS_BACK])
def test_an_hourly_schedule_runs_every_hour_whatever_the_clocks_do(after: datetime):
    slots = next_slots("0 * * * *", "Europe/Paris", after, 30)

    assert slots == [after + timedelta(hours=hour) for hour in range(1, 31)]


def test_the_last_day_of_each_month_is_found():
    assert next_slots("0 0 L * *", "UTC", utc(2024, 1, 31, 12), 2) == [utc(2024, 2, 29), utc(2024, 3, 31)]


def test_a_day_of_month_and_a_weekday_together_mean_either():
    assert next_slots("0 0 13 * fri", "UTC", utc(2024, 9, 7), 3) == [
        utc(2024, 9, 13),
        utc(2024, 9, 20),
        utc(2024, 9, 27),
    ]


@given(
    after=st.integers(0, 20 * 365 * 1440).map(lambda minutes: utc(2020, 1, 1) + timedelta(minutes=minutes)),
    cron=st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 0-5 * * sun", "15 */3 L * *", "0 1,2,3 * * *"]),
    timezone=st.sampled_from(["Europe/London", "America/Havana", "Australia/Lord_Howe", "Antarctica/Troll"]),
)
def test_slots_only_ever_go_forward(after: datetime, cron: str, timezone: str):
    slots = next_slots(cron, timezone, after, 8)

    assert all(earlier < later for earlier, later in zip([after, *slots], slots, strict=False))


@pytest.mark.parametrize(
    ("cron", "timezone", "hours"),
    [
        ("* * * * *", "UTC", 4),
        ("@hourly", "Asia/Kolkata", 48),
        ("*/7 8-10 * * mon-fri", "Europe/Paris", 48),
        ("30 2 * * *", "Europe/Paris", 48),
        ("5/20 0 L * *", "America/New_York", 48),
    ],
)
@pytest.mark.parametrize("around", [PARIS_SPRINGS_FORWARD, PARIS_FALLS_BACK, utc(2024, 1, 31, 20)])
def test_a_time_is_a_slot_when_it_is_among_the_next_ones(
    cron: str, timezone: str, hours: int, around: datetime
):
    # In steps of five minutes, to meet both slots and times between slots.
    times = [around + timedelta(minutes=5 * step) for step in range(12 * hours)]
    slots = set(next_slots(cron, timezone, around - timedelta(minutes=1), 60 * hours))

    found = [time for time in times if has_slot(cron, timezone, time)]

    assert found == [time for time in times if time in slots]


def test_the_slots_between_two_times_leave_both_out():
    noon = utc(2024, 1, 15, 12)

    between = slots_between("0 * * * *", "UTC", noon, noon + timedelta(hours=3), 10)

    assert between == (noon + timedelta(hours=1), noon + timedelta(hours=2))
    assert slots_between("0 * * * *", "UTC", noon, noon + timedelta(hours=1), 10) == ()


@pytest.mark.parametrize("cron", ["* * * * *", "0 * * * *", "0 6 * * *", "0 0 1 * *", "0 0 29 2 *"])
def test_of_many_slots_between_two_times_the_newest_are_told(cron: str):
    begin, end = utc(2020, 1, 1), utc(2024, 3, 1)

    between = slots_between(cron, "Europe/Paris", begin, end, 3)

    first = between[0]
    expected = next_slots(cron, "Europe/Paris", first - timedelta(seconds=1), 4)
    assert list(between) == [slot for slot in expected if slot < end][-3:]
    assert len(between) == (2 if cron == "0 0 29 2 *" else 3)
    assert len(between) < 3 or expected[3] >= end
