"""Access control for Dagster's webserver, which has none of its own.

Deny by default. A request passes if its Host is allowed, if the UI or the REST service uses its method and
path, if it does not come from another site, and if it has a token or a session.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.errors import HeadraceError
from headrace.records import Role
from headrace_dagster.private.workspace import READ_ONLY_SCOPE
from headrace_dagster.ui.sign_in import SignIn

GRAPHQL = "/graphql"
_LARGEST_BODY = 4 << 20
_CLOSED_PATHS = ("/report_asset", "/notebook", "/dagit", "/download_debug", "/logs")
"""Paths of Dagster that change something or read files, and that Headrace does not need."""

Authenticate = Callable[[str], Role]
"""Returns the role of a token. Raises HeadraceError for a token without a role."""


@dataclass(frozen=True)
class Refused(Exception):
    """The request is refused, with an HTTP status and a reason."""

    status: int
    reason: str


class Guard:
    """The ASGI app in front of Dagster's."""

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: tuple[str, ...], authenticate: Authenticate, sign_in: SignIn
    ) -> None:
        self._app = app
        self._allowed_hosts = frozenset(allowed_hosts)
        self._authenticate = authenticate
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, handle a sign-in, or refuse the request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope, receive)
        try:
            self._check_host(connection)
            if self._sign_in.owns(connection):
                _check_origin(connection, needed=False)
                await self._sign_in(scope, receive, send)
                return
            _check_request(connection)
            role = await self._role(connection)
            scope[READ_ONLY_SCOPE] = role is Role.VIEWER
            if scope["type"] == "http" and scope["method"] == "POST":
                receive = _replayed(await _checked_body(receive, reads_only=role is Role.VIEWER))
            elif scope["type"] == "websocket":
                receive = _subscriptions_only(receive, send)
        except Refused as refused:
            await self._refuse(refused, connection, receive, send)
            return
        await self._app(scope, receive, _with_frame_header(send))

    def _check_host(self, connection: HTTPConnection) -> None:
        if _host_name(connection.headers.get("host", "")) not in self._allowed_hosts:
            raise Refused(421, "This host name is not allowed. Add it to HEADRACE_ALLOWED_HOSTS.")

    async def _role(self, connection: HTTPConnection) -> Role:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        bears_token = scheme.lower() == "bearer"
        found = token.strip() if bears_token else self._sign_in.token_of(connection)
        if not found:
            raise Refused(401, "Sign in, or send `Authorization: Bearer <token>`.")
        # A browser adds a cookie to requests from other sites too, but never a token.
        _check_origin(connection, needed=not bears_token and _changes_state(connection))
        try:
            return await run_in_threadpool(self._authenticate, found)
        except HeadraceError as error:
            status = 401 if error.code == "token.invalid" else 503
            raise Refused(status, error.detail) from None

    async def _refuse(
        self, refused: Refused, connection: HTTPConnection, receive: Receive, send: Send
    ) -> None:
        scope = connection.scope
        if scope["type"] == "websocket":
            # The handshake is not answered yet, so the client sees HTTP 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refused.reason})
            return
        response: Response = JSONResponse({"errors": [{"message": refused.reason}]}, refused.status)
        if refused.status == 401:
            response = self._sign_in.invitation(connection) or response
            response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, _with_frame_header(send))


def _host_name(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host


def _changes_state(connection: HTTPConnection) -> bool:
    return bool(connection.scope["type"] == "websocket" or connection.scope["method"] == "POST")


def _check_origin(connection: HTTPConnection, *, needed: bool) -> None:
    origin = connection.headers.get("origin")
    if origin is None and not needed:
        return
    # The Host is allowed, and a page of this server has the same host and port as its origin.
    if origin is None or urlsplit(origin).netloc != connection.headers["host"]:
        raise Refused(403, "The request comes from another site.")


def _check_request(connection: HTTPConnection) -> None:
    path = connection.scope["path"]
    if connection.scope["type"] == "websocket":
        allowed = path == GRAPHQL
    elif connection.scope["method"] == "POST":
        allowed = path == GRAPHQL
        if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "GraphQL requests must have the content type application/json.")
    else:
        reads = connection.scope["method"] in ("GET", "HEAD")
        allowed = reads and path != GRAPHQL and not path.startswith(_CLOSED_PATHS)
    if not allowed:
        raise Refused(405, "Only POST is allowed for GraphQL, and only GET for pages and their files.")


async def _checked_body(receive: Receive, *, reads_only: bool) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "The request ended before its body was complete.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _LARGEST_BODY:
            raise Refused(413, f"The request is larger than {_LARGEST_BODY} bytes.")
    if reads_only and not _only_reads(bytes(body)):
        raise Refused(403, "A viewer's token can only read.")
    return bytes(body)


def _subscriptions_only(receive: Receive, send: Send) -> Receive:
    """Close the socket at a message that starts anything but a subscription or a query."""

    async def checked() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not _subscribes(message.get("text") or ""):
            await send({"type": "websocket.close", "code": 1008, "reason": "Send mutations by POST."})
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    return checked


def _subscribes(text: str) -> bool:
    try:
        message = json.loads(text)
        return message["type"] != "start" or _is_without_mutation(message["payload"]["query"])
    except (ValueError, LookupError, TypeError):
        return False


def _only_reads(body: bytes) -> bool:
    try:
        return _is_without_mutation(json.loads(body)["query"])
    except (ValueError, LookupError, TypeError):
        return False


def _is_without_mutation(query: str) -> bool:
    """Return True if no operation of the document is a mutation."""
    try:
        document = parse(query)
    except (GraphQLError, TypeError):
        return False
    return not any(
        isinstance(node, OperationDefinitionNode) and node.operation is OperationType.MUTATION
        for node in document.definitions
    )


def _replayed(body: bytes) -> Receive:
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        # After the body, Dagster's app waits only for the client's disconnect.
        return unread.pop() if unread else {"type": "http.disconnect"}

    return receive


def _with_frame_header(send: Send) -> Send:
    async def framed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-frame-options", b"DENY")]
        await send(message)

    return framed
