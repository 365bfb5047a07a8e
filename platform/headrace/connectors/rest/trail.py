"""What the pages of one list have shown so far: circles, bounds, and ends that come too early."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.connectors import RunWarning, Unreadable
from headrace.connectors.contract.warnings import Warn
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.rest.answers import NoRecords
from headrace.connectors.rest.config import Endpoint
from headrace.connectors.rest.paginators import Auto, HeaderLink, Page, SinglePage
from headrace.connectors.rest.paths import select
from headrace.connectors.rest.signs import sign_of_more

MOST_PAGES = 100_000
"""Pages of one list that are read where `max_pages` says nothing."""

MOST_EMPTY_PAGES = 1_000  # in a row


class RepeatedPage(Unreadable):
    """The API leads back to a page that was read already, or answers with the same records again."""

    code = "source.repeated_page"
    title = "Pages repeat"
    hint = (
        "Check the paginator's parameters: the API may ignore them, or repeat its last page. If the pages "
        "are right, set `repeated_pages` to 'allow'."
    )


class TooManyPages(Unreadable):
    """A list has more pages than are read by default."""

    code = "source.too_many_pages"
    title = "List does not end"
    hint = "If the list is so long, set max_pages to a number that it does not reach."


class MorePages(Unreadable):
    """The answer says that more pages follow, and nothing tells how to ask for them."""

    code = "source.more_pages"
    title = "Pages would be left out"
    hint = "Name the API's `paginator`; with 'single_page' the first page is enough."


class Trail:
    """Follows one list from its first page to its last."""

    def __init__(self, endpoint: Endpoint, label: str, warn: Warn) -> None:
        self._endpoint, self._label, self._warn = endpoint, label, warn
        self._asked: set[int] = set()
        self._contents: set[int] = set()
        self._pages = self._empty = 0
        self._next_seen = self._had_list = False

    def ask(self, request: Request) -> None:
        """Take note of a request. Raises RepeatedPage for one that was sent before, and TooManyPages."""
        key = hash((request.full_url, msgspec.json.encode(request.json)))
        if key in self._asked:
            raise RepeatedPage(
                f"{self._label}: page {self._pages:,} leads back to a page that was read already."
            )
        self._asked.add(key)
        if self._endpoint.max_pages is None and self._pages >= MOST_PAGES:
            raise TooManyPages(f"{self._label}: {MOST_PAGES:,} pages were read, and more follow.")

    def see(self, page: Page, paginator: SinglePage) -> None:
        """Take note of an answer. Raises RepeatedPage for records that an earlier page had, all of them."""
        self._pages += 1
        self._empty = 0 if page.records else self._empty + 1
        if self._empty >= MOST_EMPTY_PAGES:
            raise RepeatedPage(f"{self._label}: {MOST_EMPTY_PAGES:,} pages in a row have no records.")
        self._next_seen = self._next_seen or paginator.shows_next(page)
        is_one_object = isinstance(select(page.document, page.selector), dict)
        if self._had_list and is_one_object:
            raise NoRecords(f"{self._label}: page {self._pages:,} is an object, and not a list as before.")
        self._had_list = self._had_list or not is_one_object
        if self._endpoint.repeated_pages == "allow" or not page.records:
            return
        content = _hash(page.records)
        if content in self._contents:
            raise RepeatedPage(f"{self._label}: page {self._pages:,} has the records of an earlier page.")
        self._contents.add(content)

    @property
    def is_full(self) -> bool:
        """Whether `max_pages` were read."""
        return self._pages == self._endpoint.max_pages

    def cut(self) -> None:
        """Warn that pages are left out, since `max_pages` were read."""
        detail = f"{self._label}: more follows, and max_pages ended the reading."
        self._warn(RunWarning(code="rest.max_pages", detail=detail))

    def end(self, page: Page, paginator: SinglePage) -> None:
        """Check an end that the answers alone have shown. Raises MorePages where it plainly is none."""
        if self._pages > 1 or self._next_seen:
            return
        sign = sign_of_more(page)
        if sign is not None:
            self._tell(f"{self._label}: {sign.text}", paginator, is_plain=sign.is_plain)
        elif paginator.place_of_next is not None:
            detail = (
                f"{self._label}: the answer has nothing at {paginator.place_of_next!r}, where the next page "
                "should be named, so that one page was read."
            )
            self._warn(RunWarning(code="rest.no_next", detail=detail))

    def _tell(self, said: str, paginator: SinglePage, *, is_plain: bool) -> None:
        is_chosen = type(paginator) is SinglePage and not isinstance(self._endpoint.paginator, Auto)
        if is_plain and not is_chosen:
            where = _place(paginator)
            raise MorePages(f"{said}, and {where}.")
        detail = f"{said}, and one page was read."
        self._warn(RunWarning(code="rest.more_pages", detail=detail))


def _place(paginator: SinglePage) -> str:
    if paginator.place_of_next is not None:
        return f"there is nothing at {paginator.place_of_next!r}"
    if isinstance(paginator, HeaderLink):
        return "no Link header names the next page"
    return "no next page was found"


def _hash(records: Sequence[Any]) -> int:
    return hash(tuple(records.lists) if isinstance(records, JsonRecords) else repr(records))
