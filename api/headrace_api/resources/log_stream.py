"""A run's log as server-sent events (HTML Living Standard, section 9.2), until the run ends."""

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from headrace.errors import HeadraceError, NotFound, Unavailable
from headrace.records import Principal, Run
from headrace.service.platform import Unauthenticated
from headrace_api.dagster.log import LogLine
from headrace_api.followers import Followers, LogSource
from headrace_api.resources.run_logs import follow, render_line

MEDIA_TYPE = "text/event-stream"
POLL_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
"""Shorter than the idle timeout of common proxies."""

EVENTS_AT_ONCE = 500
END = "event: end\ndata: The log is complete.\n\n"

Event = tuple[str, LogLine]


def is_wanted(request: Request) -> bool:
    """Return whether the client asks for events. HEAD never does."""
    return request.method == "GET" and MEDIA_TYPE in request.headers.get("accept", "").lower()


def followed(
    request: Request,
    principal: Principal,
    followers: Followers,
    source: LogSource,
    look_up: Callable[[], Run],
    closing: threading.Event,
) -> Response:
    """Answer with the log after `Last-Event-ID`, until the log ends or the service is closing.

    If the client already has the whole log, the answer is 204, after which browsers do not reconnect. Raises
    what the first poll raises: InvalidEventId, RunNotFound, DagsterUnavailable. Raises TooManyFollowers.
    """
    followers.require_room(principal.token_id)
    last_id = request.headers.get("last-event-id")
    stream = _Stream(source, look_up, last_id)
    first = stream.poll()
    if stream.ended and not first and last_id:
        return Response(status_code=204)
    # X-Accel-Buffering: a proxy that buffers would delay the lines.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    text = _counted(_told(stream, first, closing, followers), followers, principal)
    return StreamingResponse(text, headers=headers, media_type=MEDIA_TYPE)


class _Stream:
    """A log that is polled. Each poll continues after the last line of the one before."""

    def __init__(self, source: LogSource, look_up: Callable[[], Run], last_id: str | None) -> None:
        self._source = source
        self._look_up = look_up
        self._last_id = last_id
        self._events = self._begun()
        self.ended = False

    def poll(self) -> str:
        """Return the new events, at most `EVENTS_AT_ONCE`, as text to send.

        If `follow` raises after some events, these are returned first; the next poll raises.
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
            # A generator that raised has ended. A new one continues after the last line, or raises again.
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


async def _counted(
    text: AsyncIterator[str], followers: Followers, principal: Principal
) -> AsyncIterator[str]:
    with followers.counted(principal.token_id):
        async for part in text:
            yield part


async def _told(
    stream: _Stream, text: str, closing: threading.Event, followers: Followers
) -> AsyncIterator[str]:
    """Yield the stream's text.

    While Dagster is unavailable, the stream waits. A deleted run ends it. A service that is closing sends no
    `end` event, so the client reconnects and continues. Nor does one whose token was revoked.
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
            await anyio.sleep(POLL_SECONDS)
        try:
            text = await anyio.to_thread.run_sync(stream.poll, limiter=followers.threads)
        except Unavailable:
            text = ""
        except NotFound:
            break
        except Unauthenticated:
            return
    yield text if closing.is_set() else text + END
