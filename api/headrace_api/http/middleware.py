"""What every request passes through: metrics, the access log, and the handler of unexpected errors."""

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.errors import is_disk_full
from headrace_api.http.problems import NoRoom, answer_error, answer_unexpected
from headrace_api.http.routing import ROUTE
from headrace_api.metrics import Metrics
from headrace_api.service_log import describe

_errors = logging.getLogger("headrace_api.errors")
_access = logging.getLogger("headrace_api.access")
_UNMATCHED = "unmatched"
_CLOSED_BY_CLIENT = 499
"""The status that nginx logs when the client disconnects before the answer."""


class UnexpectedErrors:
    """Answer any other exception with a 500 that tells nothing, and log it masked.

    Starlette's own handler of status 500 raises the exception again, and uvicorn would log it unmasked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception as error:
            if scope["type"] != "http":
                raise
            _errors.error("%s %s: %s", scope["method"], scope["path"], describe(error))
            if started:
                # uvicorn then cuts the connection, so that the client knows the answer is incomplete.
                raise BrokenAnswer from None
            await _answer(Request(scope), error)(scope, receive, send)


def _answer(request: Request, error: Exception) -> Response:
    if is_disk_full(error):
        return answer_error(request, NoRoom("There is no room on the service's disk."))
    return answer_unexpected(request)


class BrokenAnswer(Exception):
    """An answer failed after its headers were sent. The log has the cause."""


class Observation:
    """Count, time and log each request. The log leaves out query strings, which may hold private data."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), _CLOSED_BY_CLIENT

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - started
            method, route = _bounded(scope["method"]), scope.get(ROUTE, _UNMATCHED)
            self._metrics.observe(method, route, status, seconds)
            _access.info("%s %s %d %.0f ms", method, scope["path"], status, seconds * 1000)


def _bounded(method: str) -> str:
    """Count unknown methods as one, so that clients cannot create any number of metric series."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH") else "OTHER"
