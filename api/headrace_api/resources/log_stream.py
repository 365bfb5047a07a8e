"""A run's log as server-sent events (HTML Living Standard, section 9.2), for as long as the run goes on."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headrace.errors import HeadraceError, NotFound, Unavailable
from headrace.records import Run
from headrace_api.dagster.log import LogLine
from headrace_api.resources.run_logs import LogSource, follow, render_line

MEDIA_TYPE = "text/event-stream"
LOOK_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
"""Shorter than the time after which proxies cut a silent connection."""

EVENTS_AT_ONCE = 500
END = "event: end\ndata: The log is complete.\n\n"

Event = tuple[str, LogLine]


def is_wanted(request: Request) -> bool:
    """Whether the client asks for events and reads them: HEAD reads nothing."""
    return request.method == "GET" and MEDIA_TYPE in request.headers.get("accept", "").lower()


def followed(
    request: Request, source: LogSource, look_up: Callable[[], Run], closing: threading.Event
) -> Response:
    """Answer with the log from `Last-Event-ID` on, until it ends or the service is closing.

    204, which has a browser stop asking, where the log was told to its end. Raises what the first look
    raises: InvalidEventId, RunNotFound, DagsterUnavailable.
    """
    last_id = request.headers.get("last-event-id")
    stream = _Stream(source, look_up, last_id)
    first = stream.look()
    if stream.ended and not first and last_id:
        return Response(status_code=204)
    # A proxy that buffers would hold the lines back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_told(stream, first, closing), headers=headers, media_type=MEDIA_TYPE)


class _Stream:
    """A log that is looked at again and again, going on after the last line that was seen."""

    def __init__(self, source: LogSource, look_up: Callable[[], Run], last_id: str | None) -> None:
        self._source = source
        self._look_up = look_up
        self._last_id = last_id
        self._events = self._begun()
        self.ended = False

    def look(self) -> str:
        """Return the events that there are now, `EVENTS_AT_ONCE` at most, as they are sent.

        What `follow` raises is raised once everything before it has been returned.
        """
        told: list[str] = []
        try:
            for event in self._events:
                if event is None:
                    return "".join(told)
                told.append(self._tell(event))
                if len(told) == EVENTS_AT_ONCE:
                    return "".join(told)
            self.ended = True
        except HeadraceError:
            # A generator that raised is over; another goes on after the last line, or raises the same.
            self._events = self._begun()
            if not told:
                raise
        return "".join(told)

    def _begun(self) -> Iterator[Event | None]:
        return follow(self._source, self._look_up, self._last_id)

    def _tell(self, event: Event) -> str:
        self._last_id, line = event
        data = "".join(f"data: {part}\n" for part in render_line(line).splitlines())
        return f"id: {self._last_id}\n{data}\n"


async def _told(stream: _Stream, text: str, closing: threading.Event) -> AsyncIterator[str]:
    """Yield the stream's text: a failing Dagster is waited for, a run that is deleted ends it.

    A service that is closing says no end: the follower goes on with the next one.
    """
    spoken_at = time.monotonic()
    while not stream.ended and not closing.is_set():
        if not text and time.monotonic() - spoken_at >= KEEP_ALIVE_SECONDS:
            yield ": nothing new\n\n"
            spoken_at = time.monotonic()
        if text:
            yield text
            spoken_at = time.monotonic()
        else:
            await anyio.sleep(LOOK_SECONDS)
        try:
            text = await run_in_threadpool(stream.look)
        except Unavailable:
            text = ""
        except NotFound:
            break
    yield text if closing.is_set() else text + END
