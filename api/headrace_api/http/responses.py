"""What handlers return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import PlainSerializer, WithJsonSchema
from starlette.responses import Response

T = TypeVar("T")

JSON = "application/json"


def render_time(moment: datetime) -> str:
    """Format an aware time in UTC, to the second, such as `2024-01-15T10:00:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


Timestamp = Annotated[
    datetime,
    PlainSerializer(render_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2024-01-15T10:00:00Z"]}),
]


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[T]):
    """A body of the type that the handler declares, and extra headers."""

    body: T
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None  # None: the status that the endpoint declares


def created(body: T, location: str, etag: str | None = None) -> Answer[T]:
    """Answer with a new resource and its URL."""
    return Answer(body=body, headers={"Location": location} | ({"ETag": etag} if etag else {}))


def nothing() -> Answer[None]:
    """Answer without a body."""
    return Answer(body=None)


def without_body(response: Response) -> Response:
    """Return the response for HEAD: the same status and headers. A streamed body is not read."""
    bare = Response(status_code=response.status_code)
    bare.raw_headers = response.raw_headers
    return bare
