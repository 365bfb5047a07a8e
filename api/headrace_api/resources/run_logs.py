"""A run's log as text, and line by line while it grows.

The lines come from Dagster's record of the run. The id of a line is the cursor of its page and its number in
that page. A page that is read again begins with the same lines, so a client can continue after any id.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC

from headrace.errors import FieldError, Invalid
from headrace.records import Run
from headrace_api.dagster.client import DagsterRunNotFound
from headrace_api.dagster.log import LogLine, LogPage
from headrace_api.followers import LogSource


class InvalidEventId(Invalid):
    """`Last-Event-ID` is not the id of an event of this log."""

    code = "run.invalid_event_id"
    title = "Invalid Last-Event-ID"
    hint = "Send the id of the last event received, or leave out the header."


def render(lines: Iterable[LogLine]) -> str:
    """Return the lines as `2024-01-15 16:00:00 INFO message`, with times in UTC."""
    return "\n".join(render_line(line) for line in lines)


def render_line(line: LogLine) -> str:
    """Return one line as `2024-01-15 16:00:00 INFO message`."""
    return f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} {line.level} {line.message}"


def read(source: LogSource, run: Run) -> Iterator[LogLine]:
    """Yield the lines that the run's log has now. Yield nothing while Dagster does not know the run."""
    if run.dagster_run_id is None:
        return
    cursor: str | None = None
    while True:
        try:
            page = source.logs(run.dagster_run_id, cursor)
        except DagsterRunNotFound:
            return
        yield from page.lines
        if not page.more:
            return
        cursor = page.cursor


def follow(
    source: LogSource, look_up: Callable[[], Run], last_event_id: str | None = None
) -> Iterator[tuple[str, LogLine] | None]:
    """Yield the log's lines after `last_event_id`, each with its id, and None when there is no new line.

    The caller decides how long to wait after None. Ends when the run has ended and its log is complete.
    `look_up` returns the run's current row. Raises InvalidEventId, and what `look_up` and the source raise;
    to continue after an error, call again with the last id.
    """
    cursor, seen = _place(last_event_id)
    ended = False
    while True:
        run = look_up()
        page = _page(source, run, cursor)
        if page is not None:
            for number, line in enumerate(page.lines[seen:], start=seen + 1):
                yield f"{number}:{cursor or ''}", line
            if page.more or page.lines[seen:]:
                cursor, seen = page.cursor, 0
                continue
        # End only if the poll before this one saw the end too: a line may have arrived between run and page.
        if ended:
            return
        ended = run.status.is_terminal and (page is None or page.ended)
        if not ended:
            yield None


def _page(source: LogSource, run: Run, cursor: str | None) -> LogPage | None:
    if run.dagster_run_id is None:
        return None
    try:
        return source.logs(run.dagster_run_id, cursor)
    except DagsterRunNotFound:
        return None


def _place(event_id: str | None) -> tuple[str | None, int]:
    if not event_id:
        return None, 0
    number, separator, cursor = event_id.partition(":")
    if not separator or not number.isdecimal():
        detail = "This is not the id of an event of this log."
        raise InvalidEventId(detail, errors=[FieldError(pointer="", code="invalid", detail=detail)])
    return cursor or None, int(number)
