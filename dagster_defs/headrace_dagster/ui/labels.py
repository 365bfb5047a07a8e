"""The pipelines' names for Dagster's UI, which shows jobs by their ids and has no place for a title."""

import json
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace_dagster.pipeline_cache import PipelineCache
from headrace_dagster.repository import StoredJobs

SCRIPT_PATH = "/headrace/labels.js"
NAMES_PATH = "/headrace/names"
_NONCE = re.compile(r"'nonce-(\w+)'")


def with_names(ui: ASGIApp, jobs: StoredJobs) -> ASGIApp:
    """Return Dagster's UI with a script in its pages that shows the pipelines' names."""
    return Router(routes(jobs), default=ScriptedPages(ui), redirect_slashes=False)


def routes(jobs: StoredJobs) -> list[Route]:
    """Return the routes of the script and of the names that it shows."""
    cache = PipelineCache(lambda: jobs, lambda card: card.name)

    def names(request: Request) -> Response:
        # Read the stamp first: a name that changes in between is then sent again with the next stamp.
        etag = f'"{hash(jobs.stamp()):x}"'
        headers = {"ETag": etag, "Cache-Control": "no-store"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        content = json.dumps({pipeline_id.hex: name for pipeline_id, name in cache.all().items()})
        return Response(content, media_type="application/json", headers=headers)

    script = Path(__file__).with_name("labels.js")
    return [
        Route(SCRIPT_PATH, lambda _request: FileResponse(script, media_type="text/javascript")),
        Route(NAMES_PATH, names, methods=["GET"]),
    ]


class ScriptedPages:
    """An ASGI app whose pages load the script. A page is a response that sends a nonce for scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        await self._app(scope, receive, _Page(send).send if scope["type"] == "http" else send)


class _Page:
    """Holds a page back until its end, then sends it with the script. Passes everything else on."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        self._nonce = ""
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (nonce := _nonce(message)):
            self._start, self._nonce = message, nonce
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_page(self._start)
        else:
            await self._send(message)

    async def _send_page(self, start: Message) -> None:
        script = f'<script defer src="{SCRIPT_PATH}" nonce="{self._nonce}"></script></head>'
        body = self._body.replace(b"</head>", script.encode(), 1)
        MutableHeaders(scope=start)["Content-Length"] = str(len(body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})


def _nonce(start: Message) -> str:
    found = _NONCE.search(MutableHeaders(scope=start).get("Content-Security-Policy", ""))
    return found[1] if found else ""
