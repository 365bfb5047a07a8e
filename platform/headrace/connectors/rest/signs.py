"""Signs in an answer that more pages follow: what APIs write about their paging."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.connectors.rest.paginators import Page
from headrace.connectors.rest.paths import steps

_PLACES = frozenset(
    {"meta", "metadata", "pagination", "paging", "page", "pageinfo", "links", "responsemetadata", "info"}
    | {"cursors", "cursor", "pager", "paginator", "response", "result"}
)
_TRUE = frozenset(
    {
        "hasmore",
        "hasnext",
        "hasnextpage",
        "hasmorepages",
        "hasmoreresults",
        "hasmoreitems",
        "more",
        "morepages",
    }
    | {"moreitemsavailable", "moreresults", "moreresultsavailable", "istruncated", "truncated"}
)
_FALSE = frozenset({"islast", "islastpage", "lastpage", "last", "done", "isdone"})
_NEXT = frozenset(
    {"next", "nextpage", "nextcursor", "nexttoken", "nextpagetoken", "nexturl", "nextlink", "nexthref"}
    | {"nextpageurl", "nextpagelink", "nextrecordsurl", "nextoffset", "nextmarker", "nextpageid", "nextstart"}
    | {"nextkey", "continuationtoken", "continuation", "lastevaluatedkey", "continue"}
)
_TOTALS = frozenset(
    {"total", "totalcount", "totalresults", "totalitems", "totalrecords", "totalelements", "totalsize"}
    | {"totalhits", "numfound", "recordstotal", "xtotalcount", "xtotal", "xwptotal"}
)
_PAGES = frozenset(
    {"totalpages", "pagecount", "numpages", "lastpage", "pages", "nbpages", "xtotalpages", "xwptotalpages"}
)
_WEAK_TOTALS = frozenset({"count"})
_NOT_LETTERS = re.compile(r"^@?odata\.|[^a-z0-9]")
_CONTENT_RANGE = re.compile(r"\D*(\d+)-(\d+)/(\d+)")
_LINKS = ("link", "links")


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Something in an answer that says that more follows."""

    text: str  # for people, as a clause
    is_plain: bool  # False: it may mean something else


def sign_of_more(page: Page) -> Sign | None:
    """Return the plainest sign that more follows a first page; None without any."""
    records = len(page.records)
    signs = [*_in_headers(page.response.headers, records), *_in_document(page.document, records, 2)]
    for place in _around(page):
        signs += _in_document(place, records, 1)
    return min(signs, key=lambda sign: not sign.is_plain, default=None)


def _around(page: Page) -> Iterator[Any]:
    """Yield the objects on the way to the records, below the document itself."""
    place = page.document
    for step in steps(page.selector)[:-1]:
        try:
            place = place[step]
        except (LookupError, TypeError):
            return
        yield place


def _in_headers(headers: Mapping[str, str], records: int) -> Iterator[Sign]:
    for name, value in headers.items():
        key = _plain(name)
        if key in _TOTALS | _PAGES and value.strip().isdigit():
            yield from _of_member(name, int(value), records)
        elif key == "xnextpage" and value.strip():
            yield Sign(text=f"the header {name} is set", is_plain=True)
        elif key == "contentrange" and _ends_early(value):
            yield Sign(text=f"the header {name} tells of more", is_plain=True)


def _in_document(document: Any, records: int, levels: int) -> Iterator[Sign]:
    if not isinstance(document, dict):
        return
    for name, value in document.items():
        if isinstance(value, dict) and levels and _plain(name) in _PLACES:
            yield from _in_document(value, records, levels - 1)
        yield from _of_member(name, value, records)


def _of_member(name: str, value: Any, records: int) -> Iterator[Sign]:
    key = _plain(name)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if (value is True and key in _TRUE) or (value is False and key in _FALSE):
        yield Sign(text=f"`{name}` is {str(value).lower()}", is_plain=True)
    elif (key in _NEXT and _is_something(value)) or (key in _LINKS and _leads_on(value)):
        yield Sign(text=f"`{name}` names a next page", is_plain=True)
    elif is_number and key in _TOTALS and value > records:
        yield Sign(text=f"`{name}` is {value:,} and {records:,} records came", is_plain=True)
    elif is_number and key in _PAGES and value > 1:
        yield Sign(text=f"`{name}` is {value:,}", is_plain=True)
    elif is_number and key in _WEAK_TOTALS and value > records:
        yield Sign(text=f"`{name}` is {value:,} and {records:,} records came", is_plain=False)


def _ends_early(content_range: str) -> bool:
    found = _CONTENT_RANGE.match(content_range)
    return found is not None and int(found[2]) + 1 < int(found[3])


def _leads_on(links: Any) -> bool:
    """Whether a list of links has one to the next page."""
    links = links if isinstance(links, list) else []
    return any("next" in (link.get("rel"), link.get("relation")) for link in links if isinstance(link, dict))


def _is_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_something, value.values()))
    return isinstance(value, str | int) and value not in ("", 0, False, True)


def _plain(name: str) -> str:
    return _NOT_LETTERS.sub("", name.lower())
