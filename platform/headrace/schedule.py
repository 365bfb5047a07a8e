"""Schedules: which cron expressions are valid, and their slots, the times at which a pipeline runs.

Dagster's daemon decides when a slot is due, and uses an older croniter than this module. So the grammar is
the part of cron that both read alike: everything accepted here is accepted by Dagster, and has the same slots
there.
"""

import functools
import heapq
import itertools
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NoReturn
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from headrace.errors import FieldError, Invalid

_LONGEST = 100
_FIRST_SPAN = timedelta(hours=1)
_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_ITEM = re.compile(
    r"(?P<first>\*|\d{1,2}|[a-z]{3})(-(?P<last>\d{1,2}|[a-z]{3}))?(/(?P<step>[1-9]\d?))?", re.ASCII
)
_NTH_WEEKDAY = re.compile(r"(\d|[a-z]{3})#[1-5]|l[0-7]", re.ASCII)
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class InvalidSchedule(Invalid):
    """The text is not a cron expression that Headrace supports."""

    code = "pipeline.schedule_invalid"
    title = "Invalid schedule"
    hint = "Give five fields (minute, hour, day of month, month, day of week), such as `0 8 * * mon-fri`."


class InvalidTimezone(Invalid):
    """The name is not in the IANA time zone database."""

    code = "pipeline.timezone_invalid"
    title = "Invalid time zone"
    hint = "Give an IANA name, such as `Europe/Paris`."


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One of cron's five fields."""

    name: str
    lowest: int
    highest: int
    end: int  # of a step without an end; Sunday may be written as 7, but the week ends with 6
    names: tuple[str, ...] = ()  # in order, from the lowest number

    def number(self, text: str) -> int:
        """Return the number for a text. Raises InvalidSchedule."""
        number = self.names.index(text) + self.lowest if text in self.names else -1
        if text.isdigit():
            number = int(text)
        if not self.lowest <= number <= self.highest:
            _refuse(f"The {self.name} must be from {self.lowest} to {self.highest}.")
        return number


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY_OF_MONTH = _Field(name="day of month", lowest=1, highest=31, end=31)
_DAY_OF_WEEK = _Field(name="day of week", lowest=0, highest=7, end=6, names=_WEEKDAYS)
_FIELDS = (
    _Field(name="minute", lowest=0, highest=59, end=59),
    _Field(name="hour", lowest=0, highest=23, end=23),
    _DAY_OF_MONTH,
    _Field(name="month", lowest=1, highest=12, end=12, names=_MONTHS),
    _DAY_OF_WEEK,
)


def normalize_schedule(text: str | None) -> str | None:
    """Return the schedule as it is stored, with one space between fields; None for None and "".

    A schedule has five fields of numbers, names, `*`, lists, ranges and steps, `L` for a month's last day and
    `fri#2` or `L5` for its second or last Friday. Or it is an alias such as `@daily`. Without a schedule, a
    pipeline runs only when started by hand. Raises InvalidSchedule.
    """
    if text is None or text == "":
        return None
    if len(text) > _LONGEST:
        _refuse(f"The schedule is longer than {_LONGEST} characters.")
    if not (text.isascii() and text.isprintable()):
        _refuse("The schedule contains characters that a cron expression cannot have.")
    schedule = " ".join(text.split())
    if schedule.lower() in _ALIASES:
        return schedule.lower()
    _check(schedule.lower().split())
    return schedule


def check_timezone(name: str) -> str:
    """Return the name unchanged if it is an IANA time zone. Raises InvalidTimezone."""
    if name not in _timezones():
        detail = "The time zone is not in the IANA database."
        fault = FieldError(pointer="/timezone", code=InvalidTimezone.code, detail=detail)
        raise InvalidTimezone(detail, errors=[fault])
    return name


def next_slots(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """Return the first `count` slots after `after`, in UTC, oldest first.

    `cron` comes from `normalize_schedule`. When clocks change, the slots are Dagster's. A schedule that runs
    every hour continues hour by hour. Any other runs once: at the end of the gap if its time is skipped, and
    the second time if its time comes twice. Dagster follows this where clocks go forward by an hour between
    one and four o'clock. Where clocks change at midnight, or where winter is the exception as in Ireland,
    Dagster may start a daily schedule an hour off these slots on that day.
    """
    return list(itertools.islice(slots(cron, timezone, after), count))


def slots(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Yield the slots of `next_slots`, without end."""
    return _slots(cron, ZoneInfo(timezone), after)


@functools.lru_cache(maxsize=10_000)  # pipelines with the same schedule ask at the same time
def has_slot(cron: str, timezone: str, time: datetime) -> bool:
    """Return True if `time`, a full minute, is a slot of the schedule. Usually cheap if it is not."""
    zone = ZoneInfo(timezone)
    shown = time.astimezone(zone).replace(tzinfo=None)
    # A slot inside a gap moves to the end of the gap, so its minute says nothing.
    if shown.minute not in _minutes(cron) and not _gap(shown - timedelta(minutes=1), zone):
        return False
    return next_slots(cron, timezone, time - timedelta(seconds=1), 1) == [time]


@functools.lru_cache(maxsize=100)  # as above; few entries, because each may be long
def slots_between(
    cron: str, timezone: str, after: datetime, before: datetime, most: int
) -> tuple[datetime, ...]:
    """Return the newest `most` slots after `after` and before `before`, oldest first."""
    span = _FIRST_SPAN
    while True:
        # Search backwards in growing steps: a schedule of every minute has too many slots in a year.
        start = max(after, before - span)
        found = tuple(itertools.takewhile(lambda slot: slot < before, slots(cron, timezone, start)))
        if start == after or len(found) >= most:
            return found[-most:]
        span *= 8


@functools.lru_cache(maxsize=10_000)
def _minutes(cron: str) -> frozenset[int]:
    minutes = croniter.expand(cron)[0][0]
    return frozenset(range(60)) if minutes == ["*"] else frozenset(int(minute) for minute in minutes)


def _check(parts: list[str]) -> None:
    if len(parts) != len(_FIELDS):
        _refuse("The schedule does not have five fields.")
    for part, its_field in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            _check_item(item, its_field, parts)
    try:
        days, months = croniter.expand(" ".join(parts))[0][2:4]
    except CroniterError:
        # From None, because croniter's message is a traceback.
        raise _invalid("The schedule is not a cron expression.") from None
    if not _some_day_exists(days, months):
        _refuse("None of these months has this day.")


def _check_item(item: str, its_field: _Field, parts: list[str]) -> None:
    if its_field is _DAY_OF_MONTH and item == "l":
        return
    if its_field is _DAY_OF_WEEK and _NTH_WEEKDAY.fullmatch(item):
        if parts[2] != "*":
            _refuse("With a weekday counted in the month, the day of month must be `*`.")
        return
    match = _ITEM.fullmatch(item)
    if match is None:
        _refuse(f"The {its_field.name} must be a number, a name, `*`, a range, a step or a list of these.")
    _check_range(match["first"], match["last"], match["step"], its_field)


def _check_range(first: str, last: str | None, step: str | None, its_field: _Field) -> None:
    if first == "*":
        if last is not None:
            _refuse(f"The {its_field.name} has a range that starts with `*`.")
        return
    low = its_field.number(first)
    if last is None and step is None:
        return
    high = its_field.end if last is None else its_field.number(last)
    # Without a step, a range may wrap around, such as fri-mon.
    if low == high or (step is not None and low > high):
        _refuse(f"The {its_field.name} has a range that does not increase.")


def _some_day_exists(days: Sequence[int | str], months: Sequence[int | str]) -> bool:
    if days[0] in ("*", "l"):
        return True
    lengths = _DAYS_IN_MONTH if months[0] == "*" else [_DAYS_IN_MONTH[int(month) - 1] for month in months]
    return int(days[0]) <= max(lengths)


def _slots(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    every_hour = croniter.expand(cron)[0][1] == ["*"]
    # Start early enough for a time that comes twice: no clock goes back by more than three hours.
    start = after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=3)
    if every_hour:
        streams = [_every_hour(_clock_times(cron, start), zone, fold) for fold in (0, 1)]
    else:
        streams = [_once(_clock_times(cron, start), zone)]
    latest = after.astimezone(UTC)
    for slot in heapq.merge(*streams):
        if slot > latest:
            latest = slot
            yield slot


def _clock_times(cron: str, start: datetime) -> Iterator[datetime]:
    # Without a time zone, because only then both croniters agree.
    times = croniter(cron, start)
    while True:
        yield times.get_next(datetime)


def _every_hour(times: Iterator[datetime], zone: ZoneInfo, fold: Literal[0, 1]) -> Iterator[datetime]:
    for time in times:
        if not _gap(time, zone):
            yield time.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _once(times: Iterator[datetime], zone: ZoneInfo) -> Iterator[datetime]:
    for time in times:
        gap = _gap(time, zone)
        # A gap begins on the hour, so this is its end.
        shown = time.replace(minute=0) + gap if gap else time
        yield shown.replace(tzinfo=zone, fold=1).astimezone(UTC)


def _gap(time: datetime, zone: ZoneInfo) -> timedelta:
    """Return the size of the gap that skips this time; zero if clocks show the time."""
    # PEP 495: for a skipped time, fold 0 gives the offset before the gap and fold 1 the offset after it.
    before, after = (time.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert before is not None
    assert after is not None
    return max(after - before, timedelta(0))


@functools.cache
def _timezones() -> frozenset[str]:
    # `localtime` is the machine's own zone, and Factory means that none was set.
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def _refuse(detail: str) -> NoReturn:
    raise _invalid(detail)


def _invalid(detail: str) -> InvalidSchedule:
    fault = FieldError(pointer="/schedule", code=InvalidSchedule.code, detail=detail)
    return InvalidSchedule(detail, errors=[fault])
