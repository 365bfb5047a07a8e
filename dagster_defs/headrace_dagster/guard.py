"""Who may reach Dagster's webserver, which itself asks nobody anything.

Deny by default: a request passes when its Host is known, its method and path are among the few that the UI
and the REST service use, it does not come from another site, and it carries a token or a session.
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
from headrace_dagster.sign_in import SignIn

GRAPHQL = "/graphql"
_LARGEST_BODY = 4 << 20
_CLOSED_PATHS = ("/report_asset", "/notebook", "/dagit", "/download_debug", "/logs")
"""Parts of Dagster that change something or read files, and that Headrace has no use for."""

Authenticate = Callable[[str], Role]
"""The role that a token gives. Raises HeadraceError when it gives none."""


@dataclass(frozen=True)
class Refused(Exception):
    """The request is not passed on."""

    status: int
    reason: str


class Guard:
    """The ASGI app around Dagster's."""

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: tuple[str, ...], authenticate: Authenticate, sign_in: SignIn
    ) -> None:
        self._app = app
        self._allowed_hosts = frozenset(allowed_hosts)
        self._authenticate = authenticate
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, sign somebody in, or refuse."""
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
                receive = _again(await _checked_body(receive, reads_only=role is Role.VIEWER))
            elif scope["type"] == "websocket":
                receive = _subscribing(receive, send)
        except Refused as refused:
            await self._refuse(refused, connection, receive, send)
            return
        await self._app(scope, receive, _framed(send))

    def _check_host(self, connection: HTTPConnection) -> None:
        if _host_name(connection.headers.get("host", "")) not in self._allowed_hosts:
            raise Refused(421, "This server does not answer to that host name; see HEADRACE_ALLOWED_HOSTS.")

    async def _role(self, connection: HTTPConnection) -> Role:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        bears_token = scheme.lower() == "bearer"
        found = token.strip() if bears_token else self._sign_in.token_of(connection)
        if not found:
            raise Refused(401, "Sign in, or send `Authorization: Bearer <token>`.")
        # A browser sends a cookie by itself, on other sites' behalf too, and a token never.
        _check_origin(connection, needed=not bears_token and _acts(connection))
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
            # Before the handshake's answer: the client sees HTTP 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refused.reason})
            return
        response: Response = JSONResponse({"errors": [{"message": refused.reason}]}, refused.status)
        if refused.status == 401:
            response = self._sign_in.invitation(connection) or response
            response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, _framed(send))


def _host_name(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host


def _acts(connection: HTTPConnection) -> bool:
    return bool(connection.scope["type"] == "websocket" or connection.scope["method"] == "POST")


def _check_origin(connection: HTTPConnection, *, needed: bool) -> None:
    origin = connection.headers.get("origin")
    if origin is None and not needed:
        return
    # The Host has been found good; a page of this server has the same host and port as its origin.
    if origin is None or urlsplit(origin).netloc != connection.headers["host"]:
        raise Refused(403, "The request comes from another site.")


def _check_request(connection: HTTPConnection) -> None:
    path = connection.scope["path"]
    if connection.scope["type"] == "websocket":
        allowed = path == GRAPHQL
    elif connection.scope["method"] == "POST":
        allowed = path == GRAPHQL
        if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "GraphQL is answered to application/json only.")
    else:
        reads = connection.scope["method"] in ("GET", "HEAD")
        allowed = reads and path != GRAPHQL and not path.startswith(_CLOSED_PATHS)
    if not allowed:
        raise Refused(405, "GraphQL takes POST; pages and their files take GET; nothing else is served.")


async def _checked_body(receive: Receive, *, reads_only: bool) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "The request ended early.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _LARGEST_BODY:
            raise Refused(413, f"The request is larger than {_LARGEST_BODY} bytes.")
    if reads_only and not _only_reads(bytes(body)):
        raise Refused(403, "A viewer's token may not change anything.")
    return bytes(body)


def _subscribing(receive: Receive, send: Send) -> Receive:
    """Close the socket at a message that would start anything but a subscription or a query."""

    async def checked() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and not _subscribes(message.get("text") or ""):
            await send({"type": "websocket.close", "code": 1008, "reason": "Mutations take POST."})
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    return checked


def _subscribes(text: str) -> bool:
    try:
        told = json.loads(text)
        return told["type"] != "start" or _is_without_mutation(told["payload"]["query"])
    except (ValueError, LookupError, TypeError):
        return False


def _only_reads(body: bytes) -> bool:
    try:
        return _is_without_mutation(json.loads(body)["query"])
    except (ValueError, LookupError, TypeError):
        return False


def _is_without_mutation(query: str) -> bool:
    """Whether the document holds no mutation, whichever of its operations is asked for."""
    try:
        document = parse(query)
    except (GraphQLError, TypeError):
        return False
    return not any(
        isinstance(node, OperationDefinitionNode) and node.operation is OperationType.MUTATION
        for node in document.definitions
    )


def _again(body: bytes) -> Receive:
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        # Once the body is read, Dagster's app asks for nothing but the client's leaving.
        return unread.pop() if unread else {"type": "http.disconnect"}

    return receive


def _framed(send: Send) -> Send:
    async def framed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-frame-options", b"DENY")]
        await send(message)

    return framed
