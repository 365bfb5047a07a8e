"""Reading a stream of a REST API: page after page, for each record of the parent stream where it has one."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from pydantic import SecretStr

from headrace.connectors import Checkpoint, Cursor, CutShort, ReadRequest, RunWarning, SyncMode, Unreadable
from headrace.connectors.contract.secrets import secrets_within
from headrace.connectors.contract.warnings import Warn, log_warning
from headrace.connectors.kit.arrow.prefetch import ahead
from headrace.connectors.kit.http.authorization import authenticated_client
from headrace.connectors.kit.http.client import HttpClient
from headrace.connectors.kit.http.messages import Request, Response, origin
from headrace.connectors.rest.answers import (
    ErrorAnswer,
    Records,
    as_records,
    document_of,
    guess,
    has_errors,
    is_error,
    selected,
)
from headrace.connectors.rest.api import RestApi
from headrace.connectors.rest.config import Endpoint, Incremental, Resource
from headrace.connectors.rest.incremental import Window
from headrace.connectors.rest.paginators import Auto, Page, SinglePage
from headrace.connectors.rest.paths import MISSING, select
from headrace.connectors.rest.shifts import Shifts
from headrace.connectors.rest.templates import filled, filled_path
from headrace.connectors.rest.trail import Trail

_NO_CONTENT = (204, 205)


class ForeignAddress(Unreadable):
    """A page's link leads to a host that the configuration does not name; credentials would go there."""

    code = "source.foreign_address"
    title = "Link to another host"
    hint = "Name the host in allowed_hosts if the API's pages lie there."


def read(api: RestApi, request: ReadRequest) -> Iterator[Records | Checkpoint]:
    """Yield the pages of a stream, the next one being fetched meanwhile. Raises ConnectorError."""
    with client_of(api, request.log) as client:
        reader = RestReader(api=api, client=client, log=request.log, warn=request.warn)
        yield from ahead(_items(reader, request), request.check)


def first_page(api: RestApi, stream: str) -> Records:
    """Return the first page of a stream. Raises ConnectorError."""
    log = logging.getLogger("headrace.connector")
    with client_of(api, log) as client:
        reader = RestReader(api=api, client=client, log=log)
        return next(reader.pages(stream, reader.whole(stream)), [])


def client_of(api: RestApi, log: logging.Logger) -> HttpClient:
    """Return a client with the API's credentials and limits."""
    return authenticated_client(api.authentication, limits=api.limits, secrets=secrets_within(api), log=log)


@dataclass(frozen=True, kw_only=True)
class RestReader:
    """Reads the streams of one API."""

    api: RestApi
    client: HttpClient
    log: logging.Logger
    warn: Warn = log_warning

    def pages(self, stream: str, window: Window) -> Iterator[Records]:
        """Yield the pages of a stream, of all its parent's records in turn. Raises ConnectorError."""
        resource = self.api.resource(stream)
        parent, has_key = resource.parent, bool(resource.primary_key)
        if parent is None:
            yield from self.endpoint_pages(resource.endpoint, window, {}, has_key=has_key)
            return
        fields = resource.endpoint.parents[parent]
        for page in self.pages(parent, self.whole(parent)):
            for record in page:
                values = {f"resources.{parent}.{name}": _field(record, name) for name in fields}
                added = {f"_{parent}_{name}": record.get(name) for name in resource.include_from_parent}
                for records in self.endpoint_pages(resource.endpoint, window, values, has_key=has_key):
                    yield [{**record, **added} for record in records] if added else records

    def whole(self, stream: str) -> Window:
        """Return the window of all of a stream, from its initial value on."""
        return Window(spec=self.api.resource(stream).endpoint.incremental or Incremental())

    def endpoint_pages(
        self, endpoint: Endpoint, window: Window, values: Mapping[str, Any], *, has_key: bool = True
    ) -> Iterator[Records]:
        """Yield the pages of one list; `values` are what placeholders stand for. Raises ConnectorError.

        `has_key` says whether records that are the same are one row.
        """
        paginator, selector = endpoint.paginator, endpoint.data_selector
        credentials = _secret_params(endpoint)
        following: Request | None = paginator.first(self._request(endpoint, window, values))
        assert following is not None
        trail = Trail(endpoint, following.label, self.warn)
        shifts = Shifts(following.label, self.warn, has_key=has_key)
        while following is not None:
            trail.ask(following)
            answer = self.client.send(_with_missing(following, credentials), accept=endpoint.ignored_statuses)
            if answer.status in endpoint.ignored_statuses or answer.status in _NO_CONTENT:
                return
            document = document_of(answer, selector)
            self._check_errors(answer, document, selector)
            selector = guess(document, answer.label) if selector is None else selector
            found = selected(document, selector, answer.label)
            page = Page(
                request=following, response=answer, document=document, records=found, selector=selector
            )
            trail.see(page, paginator)
            yield as_records(shifts.new(page, paginator))
            if isinstance(paginator, Auto):
                paginator = paginator.detected(page)
                self.log.info("%s: pages by %s, records at %r", answer.label, paginator.type, selector or "$")
            following = self._following(page, paginator, trail)

    def _following(self, page: Page, paginator: SinglePage, trail: Trail) -> Request | None:
        """Return the next page's request; None after the last, of which the trail says what it leaves out."""
        following = paginator.following(page)
        if following is None:
            if not paginator.is_cut(page):
                trail.end(page, paginator)
            return None
        if trail.is_full:
            trail.cut()
            return None
        return self._checked(following, page.request)

    def _check_errors(self, answer: Response, document: Any, selector: str | None) -> None:
        """Raise ErrorAnswer for an error in the place of records; warn of one beside records."""
        if is_error(document, selector):
            said = self.client.said(answer)
            raise ErrorAnswer(
                f"{answer.label} answered {answer.status} with an error" + (f": {said}" if said else ".")
            )
        if has_errors(document) and selector != "$":
            detail = f"{answer.label}: an answer names errors beside its records, which may not be all."
            self.warn(RunWarning(code="rest.partial_answer", detail=detail))

    def _request(self, endpoint: Endpoint, window: Window, values: Mapping[str, Any]) -> Request:
        values = {**values, **window.values}
        base, path = self.api.base_url.rstrip("/"), filled_path(endpoint.path, values).lstrip("/")
        return Request(
            url=f"{base}/{path}" if path else self.api.base_url,
            method=endpoint.method,
            params={**filled(endpoint.params, values), **window.params},
            headers=filled(endpoint.headers, {}),
            json=None if endpoint.json_body is None else filled(endpoint.json_body, values),
        )

    def _checked(self, following: Request, last: Request) -> Request:
        """Return the next request, where it leads to a host that may see the credentials."""
        if origin(following.url) == origin(last.url):
            return following
        scheme, host, _ = origin(following.url)
        base_scheme, base_host, _ = origin(self.api.base_url)
        loses_tls = scheme == "http" and base_scheme == "https"
        if loses_tls and host == base_host:
            # Servers behind a proxy that ends TLS write such links.
            return replace(following, url=urljoin(self.api.base_url, _without_host(following.url)))
        is_known = origin(following.url) == origin(self.api.base_url) or host in self.api.allowed_hosts
        if loses_tls or not is_known:
            raise ForeignAddress(f"The link to the next page leads to {host}.")
        return following


def resumable(
    pages: Iterator[Records], request: ReadRequest, place: Cursor | None = None
) -> Iterator[Records | Checkpoint]:
    """Yield pages that come in no order or the newest first, and then where the next run has to go on.

    That is `place`, or the highest cursor that was read where it is None; but where `max_iterations` ended
    the reading it is the old cursor: what was left out may be of any age.
    """
    read = 0
    for records in islice(pages, request.max_iterations):
        yield records
        read += 1
    if _is_cut(read, request):
        yield _again(request)
    elif place is not None:
        yield Checkpoint(cursor=place)


def newest_first(pages: Iterator[Records], window: Window, warn: Warn) -> Iterator[Records]:
    """Yield new records until the first page of old ones, or all where an API does not keep to its order."""
    before, is_ordered = None, True
    for records in pages:
        yield window.new(records)
        if window.after is None:
            continue
        if is_ordered and not window.runs(records, before, "desc"):
            is_ordered = False
            detail = "The records do not come newest first, so that all of them are read."
            warn(RunWarning(code="rest.not_in_order", detail=detail))
        before = window.last(records) or before
        if is_ordered and window.is_behind(records):
            return


def _items(reader: RestReader, request: ReadRequest) -> Iterator[Records | Checkpoint]:
    resource = reader.api.resource(request.stream)
    window = _window(resource, request)
    # An order holds among one parent's records only.
    order = window.spec.row_order if resource.parent is None else None
    pages = reader.pages(request.stream, window)
    if order == "asc":
        yield from _oldest_first(pages, window, request)
    elif order == "desc":
        yield from resumable(newest_first(pages, window, request.warn), request)
    else:
        if request.cursor is not None:
            request.log.info(
                "The API promises no order: `lookback` reads what changes between two pages again"
            )
        yield from resumable((window.new(records) for records in pages), request)


def _oldest_first(
    pages: Iterator[Records], window: Window, request: ReadRequest
) -> Iterator[Records | Checkpoint]:
    """Yield pages, and where to go on if `max_iterations` ends the reading: at the last record."""
    read, last, is_ordered = 0, None, True
    for records in islice(pages, request.max_iterations):
        yield window.new(records)
        read += 1
        if request.max_iterations is not None:
            is_ordered = is_ordered and window.runs(records, last, "asc")
            last = window.last(records) or last
    if _is_cut(read, request):
        yield _again(request) if last is None or not is_ordered else Checkpoint(cursor=last)


def _is_cut(pages: int, request: ReadRequest) -> bool:
    return request.sync_mode is SyncMode.INCREMENTAL and pages == request.max_iterations


def _again(request: ReadRequest) -> Checkpoint:
    """Return the old cursor: what was left out may be of any age. Raises CutShort if rows are appended."""
    if not request.merges:
        raise CutShort("`max_iterations` has ended the reading of records that come in no order.")
    detail = "max_iterations ended the reading, so the next run reads the same records again."
    request.warn(RunWarning(code="rest.cut_short", detail=detail))
    return Checkpoint(cursor=request.cursor)


def _window(resource: Resource, request: ReadRequest) -> Window:
    is_incremental = request.sync_mode is SyncMode.INCREMENTAL
    return Window(
        spec=resource.endpoint.incremental or Incremental(),
        cursor_field=request.cursor_field if is_incremental else None,
        after=request.cursor if is_incremental else None,
        inclusive=request.inclusive,
        cursor_type=request.cursor_type,
    )


def _field(record: Mapping[str, Any], path: str) -> Any:
    found = select(record, path)
    return None if found is MISSING else found


def _secret_params(endpoint: Endpoint) -> dict[str, str]:
    return {n: v.get_secret_value() for n, v in endpoint.params.items() if isinstance(v, SecretStr)}


def _with_missing(request: Request, credentials: Mapping[str, str]) -> Request:
    """Add the credentials among the parameters: links to next pages come without them."""
    if not credentials or credentials.keys() <= request.params.keys():
        return request
    linked = parse_qs(urlsplit(request.url).query)
    missing = {name: value for name, value in credentials.items() if name not in linked}
    return replace(request, params={**missing, **request.params})


def _without_host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
