"""The REST service as an ASGI application."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from headrace.errors import HeadraceError
from headrace.service.platform import Platform
from headrace_api.backend import Backend, ControlLoops, Dagster
from headrace_api.documentation.routes import documentation
from headrace_api.followers import Followers
from headrace_api.http.middleware import Observation, UnexpectedErrors
from headrace_api.http.problems import answer_error, answer_http_exception
from headrace_api.http.routing import Endpoint, starlette_routes
from headrace_api.metrics import Metrics
from headrace_api.resources import connectors, domains, pipelines, runs, schedules, states, system, tokens

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint
    for noun in (pipelines, schedules, states, runs, domains, connectors, tokens, system)
    for endpoint in noun.routes.endpoints
)
"""All endpoints that OpenAPI describes. The documentation pages themselves are not among them."""


def create_app(
    platform: Platform, dagster: Dagster, control: ControlLoops, closing: threading.Event | None = None
) -> Starlette:
    """Return the application. Its lifespan starts and stops the control loops.

    The server sets `closing` when the process has to stop.
    """
    metrics = Metrics()
    backend = Backend(
        platform=platform,
        dagster=dagster,
        control=control,
        metrics=metrics,
        followers=Followers(),
        closing=closing or threading.Event(),
    )
    described = documentation(list(ENDPOINTS))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        control.start()
        yield
        await run_in_threadpool(control.stop)

    app = Starlette(
        routes=list(starlette_routes(backend, [*ENDPOINTS, *described.endpoints])),
        middleware=[Middleware(Observation, metrics=metrics), Middleware(UnexpectedErrors)],
        exception_handlers={HeadraceError: answer_error, HTTPException: answer_http_exception},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
