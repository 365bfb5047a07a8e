"""Errors as `application/problem+json` (RFC 9457).

A problem never holds the text of an unexpected exception, and never repeats a value from the request.
"""

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
from headrace.store.scoped import RevisionMismatch
from headrace_api.http.responses import without_body

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class HttpError(HeadraceError):
    """The request was refused before any use case saw it."""

    code = "http"
    title = "Refused request"
    status: ClassVar[int] = 400

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the status requires in the answer."""
        return {}


class NoRoom(Unavailable):
    """The service's disk is full. The request has changed nothing that was not complete."""

    code = "service.disk_full"
    title = "Disk full"
    hint = "Free space on the service's disk; then send the request again."


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
    """One error in one field."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body, or into the query parameters as an object."
    )
    code: str
    detail: str


class Problem(BaseModel):
    """An error. Some codes add members of their own, such as `run_id`."""

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

    type: str = Field(description="URI reference to the description of the code.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    code: str = Field(description="Stable, dotted identifier for programs.")
    hint: str | None = Field(default=None, description="How to solve the problem.")
    errors: list[FieldProblem] | None = Field(default=None, description="The fields with errors.")


def status_of(error: type[HeadraceError]) -> int:
    """Return the HTTP status for an error class: that of its nearest ancestor in the table."""
    if issubclass(error, HttpError):
        return error.status
    return next(_STATUS[ancestor] for ancestor in error.__mro__ if ancestor in _STATUS)


def answer_error(request: Request, error: Exception) -> Response:
    """Answer one of Headrace's own errors."""
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
    """Answer one of Starlette's errors, which has a status and nothing else."""
    assert isinstance(error, HTTPException)
    return _rendered(request, _plain(request, error.status_code), dict(error.headers or {}))


def answer_unexpected(request: Request) -> Response:
    """Answer any other exception with a problem that tells nothing about it."""
    return _rendered(request, _plain(request, 500), {})


def code_of(status: HTTPStatus) -> str:
    """Return the code of an error that has only a status."""
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
