"""Endpoints. One declaration both answers requests and describes the endpoint in OpenAPI.

The first parameter of a handler is the Call or the Visit. The others are, by name, the parameters of the
path, `query` and `body`; their annotations are the models that the request is validated with. The return
annotation says how the answer is rendered. The docstring is the endpoint's description.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from anyio import to_thread
from pydantic import TypeAdapter, with_config
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict

from headrace.records import Principal, Role
from headrace.service.idempotency import Idempotency
from headrace_api.backend import Backend
from headrace_api.http import auth
from headrace_api.http.idempotency import HEADER, answer_once
from headrace_api.http.preconditions import content_tag, is_known
from headrace_api.http.requests import Call, Visit, parse_body, parse_query, read_body
from headrace_api.http.responses import JSON, Answer, without_body

Method = Literal["GET", "POST", "PUT", "DELETE"]
Handler = Callable[..., Answer[Any] | Response]
Pool = Literal["requests", "logs"]
"""Logs are read by threads of their own, so that any number of readers leaves threads for requests."""
ROUTE = "headrace.route"
"""The key in the ASGI scope of the path template of the route that matched."""


@with_config(extra="forbid")
class _Nothing(TypedDict):
    """An optional body or query without fields."""


_NOTHING: TypeAdapter[Any] = TypeAdapter(_Nothing)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: Method
    path: str  # in Starlette's syntax: "/api/runs/{run_id:uuid}"
    tag: str
    handler: Handler
    role: Role | None  # the lowest role that is allowed; None: public, without a token
    status: int
    content: Mapping[str, Any]  # schemas of answers other than JSON, by media type
    problems: tuple[int, ...]  # error statuses besides those that every endpoint of its kind may answer
    pool: Pool = "requests"  # the threads that answer it

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the handler."""
        return get_type_hints(self.handler, include_extras=True)

    @cached_property
    def query(self) -> TypeAdapter[Any]:
        """The model of the query parameters. Without one, every query parameter is refused."""
        return TypeAdapter(self.hints["query"]) if "query" in self.hints else _NOTHING

    @cached_property
    def body(self) -> TypeAdapter[Any] | None:
        """The model of the body, or None if the endpoint takes no body."""
        return TypeAdapter(self.hints["body"]) if "body" in self.hints else None

    @cached_property
    def needs_body(self) -> bool:
        """Whether the body is required."""
        parameter = inspect.signature(self.handler).parameters.get("body")
        return parameter is not None and parameter.default is inspect.Parameter.empty

    @cached_property
    def answer_type(self) -> Any:
        """The type of the JSON answer, or None if it never answers JSON."""
        returned = self.hints["return"]
        found = [get_args(hint)[0] for hint in (returned, *get_args(returned)) if get_origin(hint) is Answer]
        return None if found in ([], [type(None)]) else found[0]

    @cached_property
    def answer(self) -> TypeAdapter[Any] | None:
        """The model of the JSON answer, or None if it never answers JSON."""
        return TypeAdapter(self.answer_type) if self.answer_type else None

    @property
    def answers_list(self) -> bool:
        """Whether the JSON answer is an array."""
        return get_origin(self.answer_type) is Sequence

    async def respond(self, backend: Backend, request: Request, principal: Principal | None) -> Response:
        """Answer a request whose principal has the role."""
        # Public endpoints ignore query parameters: a health probe may add one to defeat caches.
        query = parse_query(self.query, request) if principal else {}
        raw = await read_body(request) if self.method in ("POST", "PUT") else b""
        threads = backend.followers.threads if self.pool == "logs" else None
        return await to_thread.run_sync(
            self._respond, backend, request, principal, query, raw, limiter=threads
        )

    def _respond(
        self, backend: Backend, request: Request, principal: Principal | None, query: Any, raw: bytes
    ) -> Response:
        def respond() -> Response:
            arguments = dict(request.path_params)
            if "query" in self.hints:
                arguments["query"] = query
            if self.needs_body or raw:
                body = parse_body(self.body or _NOTHING, raw)
                arguments |= {"body": body} if self.body else {}
            visit = (
                Call(backend=backend, request=request, principal=principal)
                if principal
                else Visit(backend=backend, request=request)
            )
            return self._rendered(self.handler(visit, **arguments), request)

        if principal is None or self.method != "POST":
            return respond()
        keys = request.headers.getlist(HEADER)
        idempotency = Idempotency(backend.platform, principal)
        return answer_once(idempotency, keys, f"POST {request.url.path}", raw, respond)

    def _rendered(self, answer: Answer[Any] | Response, request: Request) -> Response:
        if isinstance(answer, Response):
            return answer
        headers = {"Cache-Control": "private, no-cache", **answer.headers}
        if answer.body is None or self.answer is None:
            return Response(status_code=answer.status or self.status, headers=headers)
        content = self.answer.dump_json(answer.body)
        if self.method == "GET" and answer.status is None and not self.answers_list:
            headers.setdefault("ETag", content_tag(content))
            if is_known(request, headers["ETag"]):
                return Response(status_code=304, headers=headers)
        return Response(content, answer.status or self.status, headers, JSON)


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The endpoints of one resource, in the order of declaration."""

    tag: str
    endpoints: list[Endpoint] = field(default_factory=list)

    def __call__(
        self,
        method: Method,
        path: str,
        *,
        role: Role,
        status: int = 200,
        content: Mapping[str, Any] | None = None,
        problems: tuple[int, ...] = (),
        pool: Pool = "requests",
    ) -> Callable[[Handler], Handler]:
        """Declare an endpoint for tokens with at least this role. Its handler takes a Call."""
        return self._declare(
            method=method,
            path=path,
            role=role,
            status=status,
            content=content or {},
            problems=problems,
            pool=pool,
        )

    def public(self, path: str, *, problems: tuple[int, ...] = ()) -> Callable[[Handler], Handler]:
        """Declare a GET endpoint that needs no token. Its handler takes a Visit."""
        return self._declare(method="GET", path=path, role=None, status=200, content={}, problems=problems)

    def _declare(self, **declared: Any) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.endpoints.append(Endpoint(tag=self.tag, handler=handler, **declared))
            return handler

        return declare


class Resource:
    """All methods of one path, as an ASGI application. HEAD is answered as GET without a body."""

    def __init__(self, backend: Backend, path: str, endpoints: list[Endpoint]) -> None:
        self._backend = backend
        self._template = compile_path(path)[1]
        self._endpoints: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._endpoints:
            self._endpoints["HEAD"] = self._endpoints["GET"]
        self._is_public = bool(endpoints) and all(endpoint.role is None for endpoint in endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._template
        request = Request(scope, receive)
        response = await self._respond(request)
        if request.method == "HEAD":
            response = without_body(response)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        platform = self._backend.platform
        principal = None
        # Authenticate first: without a token nobody may learn which paths and methods exist.
        if not self._is_public:
            principal = await run_in_threadpool(auth.authenticate, platform, request)
        endpoint = self._endpoints.get(request.method)
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self._endpoints))})
        if principal is not None and endpoint.role is not None:
            auth.require(principal, endpoint.role)
        response = await endpoint.respond(self._backend, request, principal)
        if endpoint.method != "GET":
            self._backend.control.wake()
        return response


class Unlisted(Resource):
    """Every other path: 404, but only for requests with a token."""

    async def _respond(self, request: Request) -> Response:
        await run_in_threadpool(auth.authenticate, self._backend.platform, request)
        raise HTTPException(404)


def starlette_routes(backend: Backend, endpoints: list[Endpoint]) -> Iterator[Route]:
    """Yield a route for each path, and last a route for every other path."""
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, []).append(endpoint)
    for path, methods in paths.items():
        yield Route(path, Resource(backend, path, methods))
    yield Route("/{path:path}", Unlisted(backend, "/{path}", []))
