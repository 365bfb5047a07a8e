"""Every error as `application/problem+json` (RFC 9457): never an exception's text, never an echoed value."""

from http import HTTPStatus
from typing import ClassVar
from urllib.parse import quote

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import Conflict, HeadraceError, Invalid, NotFound, Unavailable
from headrace.service.platform import Unauthenticated
from headrace.service.runs import OutputGone
from headrace.store.pipelines import RevisionMismatch
from headrace_api.http.responses import without_body

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class HttpError(HeadraceError):
    """A request that HTTP itself, and no use case, refuses; `headers` go into the answer."""

    code = "http"
    title = "Refused request"
    status: ClassVar[int] = 400

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the status calls for."""
        return {}


_STATUS: dict[type[Exception], int] = {
    Unauthenticated: 401,
    NotFound: 404,
    Conflict: 409,
    OutputGone: 410,
    RevisionMismatch: 412,
    Invalid: 422,
    Unavailable: 503,
    HeadraceError: 500,
}


class FieldProblem(BaseModel):
    """One fault of one field."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body, or into the query parameters taken as an object."
    )
    code: str
    detail: str


class Problem(BaseModel):
    """What went wrong. Some codes add members of their own, such as `run_id`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/docs/errors#pipeline.not_found",
                    "title": "Pipeline not found",
                    "status": 404,
                    "detail": "There is no such pipeline.",
                    "instance": "/api/pipelines/0b9c3d52-8d0e-4a43-9f3e-0d6a3f0f8a55",
                    "code": "pipeline.not_found",
                    "hint": "List the pipelines with GET /api/pipelines.",
                }
            ]
        },
    )

    type: str = Field(description="URI reference of the code's description.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable and dotted, to be tested by programs.")
    hint: str | None = Field(default=None, description="What to do about it.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields at fault.")


def status_of(error: type[HeadraceError]) -> int:
    """Return the status that answers an error of this class: that of its nearest listed ancestor."""
    if issubclass(error, HttpError):
        return error.status
    return next(_STATUS[ancestor] for ancestor in error.__mro__ if ancestor in _STATUS)


def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error that Headrace foresees."""
    assert isinstance(error, HeadraceError)
    errors = [FieldProblem.model_validate(fault, from_attributes=True) for fault in error.errors]
    problem = Problem(
        type=f"/docs/errors#{error.code}",
        title=error.title,
        status=status_of(type(error)),
        detail=error.detail,
        instance=quote(request.url.path),
        code=error.code,
        hint=error.hint or None,
        errors=errors or None,
        **error.context,
    )
    return _rendered(request, problem, _headers(error))


def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer one of Starlette's own errors, which knows a status only."""
    assert isinstance(error, HTTPException)
    return _rendered(request, _plain(request, error.status_code), dict(error.headers or {}))


def answer_unforeseen(request: Request) -> Response:
    """Answer an exception that nobody foresaw, and of which nothing is told."""
    return _rendered(request, _plain(request, 500), {})


def code_of(status: HTTPStatus) -> str:
    """Return the code of an error of which no more is known than its status."""
    return f"http.{status.name.lower()}"


def _plain(request: Request, status: int) -> Problem:
    phrase = HTTPStatus(status).phrase
    code = code_of(HTTPStatus(status))
    return Problem(
        type=f"/docs/errors#{code}",
        title=phrase,
        status=status,
        detail=f"{HTTPStatus(status).description or phrase}.",
        instance=quote(request.url.path),
        code=code,
    )


def _headers(error: HeadraceError) -> dict[str, str]:
    if isinstance(error, HttpError):
        return error.headers
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="headrace"'}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}


def _rendered(request: Request, problem: Problem, headers: dict[str, str]) -> Response:
    content = pydantic_core.to_json(problem.model_dump(exclude_none=True))
    response = Response(content, problem.status, headers | {"Cache-Control": "no-store"}, MEDIA_TYPE)
    return without_body(response) if request.method == "HEAD" else response
