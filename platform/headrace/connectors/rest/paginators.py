"""The ways in which APIs split a list into pages. Keys are those of dlt's `rest_api` paginators.

A paginator holds no state: the next request is made of the last one and its answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urljoin

from pydantic import BeforeValidator, Field

from headrace.connectors import Section, Unreadable
from headrace.connectors.kit.http.messages import Request, Response
from headrace.connectors.rest.paths import MISSING, JsonPath, select

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^;,=\s]+\s*(?:=\s*(?:\"[^\"]*\"|[^;,\s]*))?)*)")
_LINKS = (
    *("next", "links.next", "_links.next.href", "pagination.next", "paging.next.link", "meta.next"),
    *("['@odata.nextLink']", "['odata.nextLink']", "nextLink", "next_url", "nextUrl", "next_page_url"),
    *("nextPageUrl", "nextRecordsUrl", "next_link", "next_page", "nextPage", "next.href", "links.next.href"),
    *("_links.next", "paging.next", "pagination.next_url", "pagination.next.href", "meta.next_page_url"),
    *("meta.pagination.links.next", "pagination.nextUrl", "info.next", "page.next"),
)
_CURSORS = (
    ("paging.next.after", "after"),
    ("nextPageToken", "pageToken"),
    ("next_page_token", "page_token"),
    ("response_metadata.next_cursor", "cursor"),
)
_FALSE = ("false", "no", "0")


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page as it came."""

    request: Request
    response: Response
    document: Any
    records: Sequence[Any]
    selector: str = ""  # the records' path in the document

    def at(self, path: str | None) -> Any:
        """Return the document's value at a path; None where there is none."""
        found = select(self.document, path) if path is not None else None
        return None if found is MISSING else found

    def has(self, path: str) -> bool:
        """Whether the document has anything at a path, null included."""
        return select(self.document, path) is not MISSING

    def denies(self, path: str | None) -> bool:
        """Whether the document says at a path that nothing more follows; nothing there says nothing."""
        said = True if path is None else select(self.document, path)
        return not said or (isinstance(said, str) and said.lower() in _FALSE)


class SinglePage(Section):
    """All in one page."""

    type: Literal["single_page"] = "single_page"

    def first(self, request: Request) -> Request:
        """Return the request of the first page."""
        return request

    def following(self, page: Page) -> Request | None:
        """Return the request of the page after this one; None after the last. Raises Unreadable."""
        return None

    @property
    def place_of_next(self) -> str | None:
        """The path at which each page but the last one names the next; None where there is none."""
        return None

    def shows_next(self, page: Page) -> bool:
        """Whether the page has the place that names the next one, even if it names none."""
        return self.place_of_next is not None and page.has(self.place_of_next)

    def is_cut(self, page: Page) -> bool:
        """Whether the configuration alone ends the list after this page."""
        return False


class Cursor(SinglePage):
    """The answer names what to ask for next."""

    type: Literal["cursor"]  # type: ignore[assignment]
    cursor_path: JsonPath = Field("cursors.next", description="Where the answer has the next page's cursor.")
    cursor_param: str | None = Field(None, description="Parameter that takes it; 'cursor' if none is named.")
    cursor_body_path: str | None = Field(None, description="Key of the body that takes it.")
    has_more_path: JsonPath | None = Field(None, description="Where the answer says whether more follows.")

    def following(self, page: Page) -> Request | None:
        """Put the answer's cursor into the next request."""
        cursor = page.at(self.cursor_path)
        if cursor in (None, "", False) or page.denies(self.has_more_path):
            return None
        if isinstance(cursor, dict | list):
            raise Unreadable(f"{page.response.label}: what lies at {self.cursor_path!r} is not a cursor.")
        name = self.cursor_param or ("" if self.cursor_body_path else "cursor")
        return _with(page.request, name, self.cursor_body_path, cursor)

    @property
    def place_of_next(self) -> str | None:
        """The cursor's path."""
        return self.cursor_path


class _Counting(SinglePage):
    """Pages that are asked for by a number which grows."""

    total_path: JsonPath | None = Field(None, description="Where the answer has the total.")
    has_more_path: JsonPath | None = Field(None, description="Where the answer says whether more follows.")
    stop_after_empty_page: bool = Field(True, description="Whether an empty page is the last.")

    def _is_last(self, page: Page, reached: int) -> bool:
        """Whether a page is the last when `reached` is what would be asked for next, counted from 0."""
        if self.stop_after_empty_page and not page.records:
            return True
        if page.denies(self.has_more_path):
            return True
        total = page.at(self.total_path)
        if isinstance(total, str) and total.isdigit():
            total = int(total)
        return isinstance(total, int) and reached >= total


class PageNumber(_Counting):
    """Pages are numbered; `total_path` leads to the number of pages."""

    type: Literal["page_number"]  # type: ignore[assignment]
    base_page: int = Field(0, description="Number of the first page.")
    page_param: str = Field("page", description="Parameter that takes the number.")
    page_body_path: str | None = Field(None, description="Key of the body that takes it instead.")
    maximum_page: int | None = Field(None, description="Last page to ask for.")

    def first(self, request: Request) -> Request:
        """Ask for the base page."""
        return _with(request, self.page_param, self.page_body_path, self.base_page)

    def following(self, page: Page) -> Request | None:
        """Ask for the next number."""
        number = self._next(page)
        if self.is_cut(page) or self._is_last(page, number - self.base_page):
            return None
        return _with(page.request, self.page_param, self.page_body_path, number)

    def is_cut(self, page: Page) -> bool:
        """Whether the next number is beyond the maximum."""
        return self.maximum_page is not None and self._next(page) > self.maximum_page

    def _next(self, page: Page) -> int:
        return _value(page.request, self.page_param, self.page_body_path) + 1


class Offset(_Counting):
    """Records are counted; `total_path` leads to the number of records.

    The offset grows by what came and not by the limit: a server may hold its pages shorter than asked.
    """

    type: Literal["offset"]  # type: ignore[assignment]
    limit: int = Field(ge=1, description="Records to ask for at once.")
    offset: int = Field(0, ge=0, description="Offset of the first record.")
    offset_param: str = Field("offset", description="Parameter that takes the offset.")
    limit_param: str = Field("limit", description="Parameter that takes the limit.")
    offset_body_path: str | None = Field(None, description="Key of the body that takes the offset instead.")
    limit_body_path: str | None = Field(None, description="Key of the body that takes the limit instead.")
    maximum_offset: int | None = Field(None, description="Offset to stop at.")

    def first(self, request: Request) -> Request:
        """Ask for the first records."""
        limited = _with(request, self.limit_param, self.limit_body_path, self.limit)
        return _with(limited, self.offset_param, self.offset_body_path, self.offset)

    def following(self, page: Page) -> Request | None:
        """Ask for the records after those that came."""
        offset = self._next(page)
        if self.is_cut(page) or self._is_last(page, offset):
            return None
        return _with(page.request, self.offset_param, self.offset_body_path, offset)

    def is_cut(self, page: Page) -> bool:
        """Whether the next offset is the maximum or beyond it."""
        return self.maximum_offset is not None and self._next(page) >= self.maximum_offset

    def _next(self, page: Page) -> int:
        came = len(page.records) or self.limit
        return _value(page.request, self.offset_param, self.offset_body_path) + came


class HeaderLink(SinglePage):
    """The `Link` header names the next page's URL (RFC 8288)."""

    type: Literal["header_link"]  # type: ignore[assignment]
    links_next_key: str = Field("next", description="Relation of the next page.")

    def following(self, page: Page) -> Request | None:
        """Follow the link."""
        url = link(page.response.headers.get("Link", ""), self.links_next_key)
        return _linked(page, url) if url else None

    def shows_next(self, page: Page) -> bool:
        """Whether the header is there at all."""
        return "Link" in page.response.headers


class JsonLink(SinglePage):
    """The answer holds the next page's URL."""

    type: Literal["json_link"]  # type: ignore[assignment]
    next_url_path: JsonPath = Field("next", description="Where the answer has the URL.")

    def following(self, page: Page) -> Request | None:
        """Follow the link."""
        url = page.at(self.next_url_path)
        if url in (None, "", False):
            return None
        if not isinstance(url, str):
            raise Unreadable(f"{page.response.label}: what lies at {self.next_url_path!r} is not a URL.")
        return _linked(page, url)

    @property
    def place_of_next(self) -> str | None:
        """The URL's path."""
        return self.next_url_path


class Auto(SinglePage):
    """Looks at the first page: a link in the header or at a usual place, or all in one page."""

    type: Literal["auto"]  # type: ignore[assignment]

    def following(self, page: Page) -> Request | None:
        """Follow what the page shows."""
        return self.detected(page).following(page)

    def detected(self, page: Page) -> SinglePage:
        """Return the paginator whose signs the page shows."""
        if link(page.response.headers.get("Link", ""), "next"):
            return HeaderLink(type="header_link")
        for path in _LINKS:
            url = page.at(path)
            if isinstance(url, str) and url.startswith(("http://", "https://", "/", "?")):
                return JsonLink(type="json_link", next_url_path=path)
        for path, param in _CURSORS:
            if page.at(path) not in (None, "", False):
                return Cursor(type="cursor", cursor_path=path, cursor_param=param)
        return SinglePage()


Paginator = Annotated[
    Annotated[
        SinglePage | Cursor | PageNumber | Offset | HeaderLink | JsonLink | Auto,
        Field(discriminator="type"),
    ],
    BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value),
]
"""A paginator, or its type alone."""


def link(header: str, relation: str) -> str | None:
    """Return the target of a `Link` header's relation, or None."""
    for target, parameters in _LINK.findall(header):
        for name, quoted, plain in re.findall(r";\s*([^;=\s]+)\s*=\s*(?:\"([^\"]*)\"|([^;\s]*))", parameters):
            relations = (quoted or plain.strip("'")).lower().split()
            if name.lower() == "rel" and relation.lower() in relations:
                return str(target)
    return None


def _linked(page: Page, url: str) -> Request:
    return replace(page.request, url=urljoin(page.response.url, url), params={})


def _with(request: Request, param: str, body_key: str | None, value: Any) -> Request:
    if body_key is not None:
        return replace(request, json=_put(request.json, body_key.split("."), value))
    return replace(request, params={**request.params, param: value})


def _put(body: Any, keys: list[str], value: Any) -> dict[str, Any]:
    """Copy a body with a value at a key, making the objects on the way."""
    inner = body if isinstance(body, dict) else {}
    first, *rest = keys
    return {**inner, first: _put(inner.get(first), rest, value) if rest else value}


def _value(request: Request, param: str, body_key: str | None) -> int:
    found: Any = request.params if body_key is None else request.json
    for key in [param] if body_key is None else body_key.split("."):
        found = found[key]
    return int(found)
