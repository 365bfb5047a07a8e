"""Pages of lists: `limit` and `offset` of requests, `X-Total-Count` and `Link` (RFC 8288) of answers."""

from collections.abc import Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, with_config
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from typing_extensions import TypedDict

from headrace.records import Page
from headrace_api.http.responses import Answer

T = TypeVar("T")


def _digits(text: object) -> object:
    """Refuse what `int` would accept besides ASCII digits: signs, spaces, underscores, other digits."""
    if isinstance(text, str) and not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise PydanticCustomError("integer", "Give a whole number in decimal digits.")
    return text


@with_config(extra="forbid")
class Paging(TypedDict, total=False):
    """The page of a list to return."""

    limit: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="The largest number of items to return.",
            json_schema_extra={"default": Page.limit},
        ),
        BeforeValidator(_digits),
    ]
    offset: Annotated[
        int,
        Field(
            ge=0,
            le=2**31 - 1,
            description="The number of items to skip, counted from the newest.",
            json_schema_extra={"default": Page.offset},
        ),
        BeforeValidator(_digits),
    ]


def page_of(paging: Paging) -> Page:
    """Return the requested page, with the defaults filled in."""
    return Page(limit=paging.get("limit", Page.limit), offset=paging.get("offset", Page.offset))


def paged(request: Request, page: Page, items: Sequence[T], total: int) -> Answer[Sequence[T]]:
    """Answer with one page of a list of `total` items, and links to the other pages."""
    return Answer(body=items, headers=page_headers(request, page, total))


def page_headers(request: Request, page: Page, total: int) -> dict[str, str]:
    """Return the headers for a page of a list of `total` items."""
    return {"X-Total-Count": str(total), "Link": _links(request, page, total)}


def _links(request: Request, page: Page, total: int) -> str:
    """Return links that keep the filters; `prev` and `next` only if there is such a page."""
    last = max(0, (total - 1) // page.limit * page.limit)
    offsets = {"first": 0}
    if page.offset > 0:
        # Beyond the end of the list, `prev` is the last page that has items.
        offsets["prev"] = max(0, min(page.offset - page.limit, last))
    if page.offset + page.limit < total:
        offsets["next"] = page.offset + page.limit
    offsets["last"] = last
    return ", ".join(f'<{_url(request, page.limit, offset)}>; rel="{rel}"' for rel, offset in offsets.items())


def _url(request: Request, limit: int, offset: int) -> str:
    filters = [(key, value) for key, value in request.query_params.items() if key not in ("limit", "offset")]
    return f"{request.url.path}?{urlencode([*filters, ('limit', limit), ('offset', offset)])}"
