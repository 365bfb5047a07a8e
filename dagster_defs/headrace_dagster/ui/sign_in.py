"""Browser sessions: a page that takes a token, and a link that works once."""

import html
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from headrace.errors import HeadraceError
from headrace.records import Role
from headrace.service.web_session import LIFETIME, Purpose, SessionSeal

COOKIE = "headrace_session"

_SESSION_PATH = "/headrace/session"
_TICKET_PATH = "/headrace/open"
_LARGEST_FORM = 4096
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    # With no-referrer, a form's Origin would be null.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headrace: sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 15vh auto; padding: 0 1rem }}
  h1 {{ font-size: 1.3rem }} label {{ display: block; margin: 1rem 0 .25rem }}
  input {{ width: 100%; box-sizing: border-box; padding: .5rem; font: inherit }}
  button {{ margin-top: 1rem; padding: .5rem 1.25rem; font: inherit }} .fault {{ color: #b00020 }}
</style></head><body>
<h1>Headrace: sign in to Dagster</h1>{fault}
<form method="post" action="/headrace/session">
  <label for="token">API token</label>
  <input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
  <input name="next" type="hidden" value="{next}">
  <button>Sign in</button>
</form>
<p>On Headrace's machine, <code>headrace token</code> prints the owner's token.</p>
</body></html>"""


class SignIn:
    """The ASGI app of the page and the link, and the sessions that the guard asks for."""

    def __init__(self, seal: SessionSeal, authenticate: Callable[[str], Role]) -> None:
        self._seal = seal
        self._authenticate = authenticate
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}  # ticket to its expiry
        self._app = Starlette(
            routes=[
                Route(_SESSION_PATH, self._start, methods=["POST"]),
                Route(_TICKET_PATH, self._open, methods=["GET"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the sign-in."""
        await self._app(scope, receive, send)

    def owns(self, connection: HTTPConnection) -> bool:
        """Return True if the request is for this app, which needs no session."""
        return connection.scope["type"] == "http" and connection.url.path in (_SESSION_PATH, _TICKET_PATH)

    def token_of(self, connection: HTTPConnection) -> str | None:
        """Return the token of the request's session; None without a session."""
        return self._seal.open(connection.cookies.get(COOKIE, ""), Purpose.SESSION)

    def invitation(self, connection: HTTPConnection) -> Response | None:
        """Return the sign-in page if a browser asks for a page; None otherwise."""
        if "text/html" not in connection.headers.get("accept", ""):
            return None
        query = connection.scope["query_string"].decode("latin-1")
        return _page(next_=connection.scope["path"] + (f"?{query}" if query else ""))

    async def _start(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                return _page(fault="This is not a token.", status=413)
        form = parse_qs(body.decode("utf-8", "replace"))
        token, next_ = form.get("token", [""])[0].strip(), form.get("next", ["/"])[0]
        try:
            await run_in_threadpool(self._authenticate, token)
        except HeadraceError as error:
            return _page(fault=error.detail, next_=next_, status=401)
        return self._session(request, token, next_)

    async def _open(self, request: Request) -> Response:
        ticket = request.query_params.get("ticket", "")
        token = self._seal.open(ticket, Purpose.TICKET)
        if token is None or not self._first_use(ticket):
            return _page(fault="This link has expired or was already used.", status=401)
        return self._session(request, token, "/")

    def _first_use(self, ticket: str) -> bool:
        now = time.time()
        with self._lock:
            self._used = {used: until for used, until in self._used.items() if until > now}
            first = ticket not in self._used
            self._used[ticket] = now + LIFETIME[Purpose.TICKET]
            return first

    def _session(self, request: Request, token: str, next_: str) -> Response:
        # Only paths of this server: a browser takes `//host` and `/\host` for other sites.
        safe = next_.startswith("/") and not next_[1:].startswith(("/", "\\"))
        response = RedirectResponse(next_ if safe else "/", status_code=303)
        response.set_cookie(
            COOKIE,
            self._seal.seal(token, Purpose.SESSION),
            max_age=int(LIFETIME[Purpose.SESSION]),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response


def _page(*, fault: str = "", next_: str = "/", status: int = 401) -> Response:
    shown = f'<p class="fault">{html.escape(fault)}</p>' if fault else ""
    page = _PAGE.format(fault=shown, next=html.escape(next_))
    return HTMLResponse(page, status_code=status, headers=_PAGE_HEADERS)
