"""A page beside Dagster's UI that says whether runs can be launched, for the REST service's readiness."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.naming import LAUNCHABLE_PATH


def with_launchable(app: ASGIApp, refusal: Callable[[], str]) -> ASGIApp:
    """Return the app with the page; `refusal` returns why no run can be launched, empty if one can."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != LAUNCHABLE_PATH:
            await app(scope, receive, send)
            return
        reason = await run_in_threadpool(refusal)
        headers = {"Cache-Control": "no-store"}
        response = PlainTextResponse(reason, 503, headers) if reason else Response(None, 204, headers)
        await response(scope, receive, send)

    return answer
