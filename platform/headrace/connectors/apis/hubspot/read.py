"""Reading HubSpot: lists for whole objects, search for what changed.

Search answers at most 10,000 results of one query and pages them by offset, so that a record which changes
meanwhile shifts the others past a page's edge. So no offset is used: each query asks for the ids after the
last one, within a range of change times that is closed before the first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from headrace.connectors import (
    Checkpoint,
    Cursor,
    ReadRequest,
    RunWarning,
    SyncMode,
    Unauthorized,
    Unreadable,
)
from headrace.connectors.apis.hubspot.config import OBJECTS
from headrace.connectors.kit.arrow.prefetch import ahead
from headrace.connectors.kit.http.authorization import authenticated_client
from headrace.connectors.kit.http.client import HttpClient
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.rest.answers import Records
from headrace.connectors.rest.api import RestApi
from headrace.connectors.rest.config import Endpoint
from headrace.connectors.rest.incremental import Window, moment_of
from headrace.connectors.rest.paginators import Cursor as CursorPaginator
from headrace.connectors.rest.paginators import Page, SinglePage
from headrace.connectors.rest.paths import MISSING, select
from headrace.connectors.rest.read import RestReader, resumable
from headrace.connectors.rest.trail import RepeatedPage

if TYPE_CHECKING:
    from headrace.connectors.apis.hubspot.config import HubspotConfig

_LIST_LIMIT = 100  # of the list endpoints
_SEARCH_LIMIT = 200  # of the search endpoints
_BATCH_LIMIT = 100  # of the batch endpoints
_LONGEST_QUERY = 6000  # characters of property names that fit into a URL next to all else
_CHANGED = {"contacts": "lastmodifieddate"}  # the property that holds the change time
_CHANGED_ELSE = "hs_lastmodifieddate"


def check(source: HubspotConfig) -> str:
    """Say which objects the credentials may read. Raises ConnectorError when it is none."""
    readable, refusal = [], None
    with _client(source, logging.getLogger("headrace.connector")) as client:
        for name in OBJECTS:
            try:
                client.send(Request(url=f"{_objects(source, name)}?limit=1"))
                readable.append(name)
            except Unauthorized as error:
                refusal = error
    if not readable:
        raise refusal or Unauthorized("The credentials read nothing.")
    return f"The credentials may read {', '.join(readable)}."


def read(source: HubspotConfig, request: ReadRequest) -> Iterator[Records | Checkpoint]:
    """Yield the records of an object, and at last the change time up to which all are among them."""
    with _client(source, request.log) as client:
        yield from ahead(_Reading(source, request, client).items(), request.check)


def _client(source: HubspotConfig, log: logging.Logger) -> HttpClient:
    return authenticated_client(source.authentication, limits=source.limits, log=log)


def _objects(source: HubspotConfig, stream: str) -> str:
    return f"{source.base_url.rstrip('/')}/crm/v3/objects/{stream}"


@dataclass(frozen=True)
class _Reading:
    source: HubspotConfig
    request: ReadRequest
    client: HttpClient

    def items(self) -> Iterator[Records | Checkpoint]:
        """Yield the pages and, in an incremental run, the place from which the next one goes on."""
        if self.request.sync_mode is SyncMode.FULL_REFRESH:
            yield from islice(self._whole(), self.request.max_iterations)
            return
        latest, cursor = self._latest(), self.request.cursor
        pages = self._whole() if cursor is None else self._changed(_moment(cursor), latest)
        if latest is not None:
            # Not the highest change time that was read: a record may have changed after its page had passed.
            latest = latest if cursor is None else max(latest, _moment(cursor))
        yield from resumable(pages, self.request, None if latest is None else _text(latest))

    def _whole(self) -> Iterator[Records]:
        yield from self._list(archived=False)
        if self.source.archived:
            yield from self._list(archived=True)

    def _changed(self, cursor: datetime, latest: datetime | None) -> Iterator[Records]:
        since = cursor - timedelta(seconds=self.source.lookback_seconds)
        if latest is not None:
            yield from self._search(since, latest)
        if self.source.archived:  # search knows none of them
            for records in self._list(archived=True):
                yield [record for record in records if _moment(record["archivedAt"]) >= since]

    def _list(self, *, archived: bool) -> Iterator[Records]:
        names = self._properties()
        fits = len(",".join(names)) <= _LONGEST_QUERY
        params = {
            "limit": _LIST_LIMIT,
            "archived": archived,
            "properties": ",".join(names) if fits else None,
            "associations": ",".join(self.source.associations) or None,
        }
        endpoint = Endpoint(params=params, data_selector="results", paginator=_LIST)
        for records in self._pages(endpoint):
            whole = records if fits else self._with_properties(records, names, archived)
            yield self._with_all_links(whole) if self.source.associations else whole

    def _search(self, since: datetime, latest: datetime) -> Iterator[Records]:
        query = {
            "filterGroups": [{"filters": [*self._between(since, latest), _after_id(0)]}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": self._properties(),
            "limit": _SEARCH_LIMIT,
        }
        endpoint = Endpoint.model_construct(
            path="search", method="POST", json_body=query, data_selector="results", paginator=_ById()
        )
        for records in self._pages(endpoint):
            yield self._with_associations(records) if self.source.associations else records

    def _pages(self, endpoint: Endpoint) -> Iterator[Records]:
        api = RestApi(base_url=_objects(self.source, self.request.stream))
        reader = RestReader(api=api, client=self.client, log=self.request.log, warn=self.request.warn)
        return reader.endpoint_pages(endpoint, Window(), {})

    def _latest(self) -> datetime | None:
        """Return the newest change time that search knows; None when it knows no record."""
        name = self._change_time
        query = {
            "filterGroups": [],
            "sorts": [{"propertyName": name, "direction": "DESCENDING"}],
            "properties": [name],
            "limit": 1,
        }
        results = self._post("search", query)
        return _moment(select(results[0], f"properties.{name}")) if results else None

    @property
    def _change_time(self) -> str:
        return _CHANGED.get(self.request.stream, _CHANGED_ELSE)

    def _between(self, since: datetime, latest: datetime) -> list[dict[str, str]]:
        bounds = (("GTE", since), ("LTE", latest))
        return [
            {"propertyName": self._change_time, "operator": operator, "value": _milliseconds(moment)}
            for operator, moment in bounds
        ]

    def _properties(self) -> list[str]:
        wanted = self.source.properties
        if wanted.strategy == "selected":
            return list(wanted.selected_properties or ())
        url = f"{self.source.base_url.rstrip('/')}/crm/v3/properties/{self.request.stream}"
        return [found["name"] for found in _results(self.client.send(Request(url=url)).json())]

    def _with_properties(self, records: Records, names: list[str], archived: bool) -> Records:
        """Fetch the properties by a request whose body names them: no URL is long enough for all."""
        found: dict[str, Any] = {}
        for start in range(0, len(records), _BATCH_LIMIT):
            inputs = [{"id": record["id"]} for record in records[start : start + _BATCH_LIMIT]]
            path = f"batch/read?archived={str(archived).lower()}"
            for record in self._post(path, {"inputs": inputs, "properties": names}):
                found[record["id"]] = record["properties"]
        gone = len(records) - sum(record["id"] in found for record in records)
        if gone:
            detail = "Records that HubSpot listed were gone when their properties were asked for."
            self.request.warn(RunWarning(code="hubspot.records_gone", detail=detail, count=gone))
        return [{**record, "properties": found[record["id"]]} for record in records if record["id"] in found]

    def _with_associations(self, records: Records) -> Records:
        """Add the links that lists have and search leaves out, in the lists' shape."""
        links: dict[str, dict[str, Any]] = {record["id"]: {} for record in records}
        for target in self.source.associations:
            for record, found in self._links(target, list(links)).items():
                links[record][target] = {"results": found}
        return [{**record, **_linked(links[record["id"]])} for record in records]

    def _with_all_links(self, records: Records) -> Records:
        """Read on the links of records that a list gives a first page of only."""
        return [self._completed(record) if _has_more_links(record) else record for record in records]

    def _completed(self, record: dict[str, Any]) -> dict[str, Any]:
        links = {
            target: {"results": self._links(target, [record["id"]])[record["id"]]}
            if "paging" in page
            else page
            for target, page in record["associations"].items()
        }
        return {**record, "associations": links}

    def _links(self, target: str, records: list[str]) -> dict[str, list[Any]]:
        """Return all links of records to a target, page after page; records without any are left out."""
        base = self.source.base_url.rstrip("/")
        url = f"{base}/crm/v3/associations/{self.request.stream}/{target}/batch/read"
        links: dict[str, list[Any]] = {}
        wanted = [{"id": record} for record in records]
        pages: set[tuple[str, str]] = set()
        while wanted:
            inputs, wanted = wanted[:_BATCH_LIMIT], wanted[_BATCH_LIMIT:]
            answer = self.client.send(Request(url=url, method="POST", json={"inputs": inputs}))
            for found in _results(answer.json()):
                links.setdefault(found["from"]["id"], []).extend(found["to"])
                after = select(found, "paging.next.after")
                if after not in (MISSING, None):
                    page = (found["from"]["id"], str(after))
                    if page in pages:
                        raise RepeatedPage("HubSpot leads back to links that were read already.")
                    pages.add(page)
                    wanted.append({"id": page[0], "after": page[1]})
        return links

    def _post(self, path: str, query: dict[str, Any]) -> Records:
        url = f"{_objects(self.source, self.request.stream)}/{path}"
        return _results(self.client.send(Request(url=url, method="POST", json=query)).json())


class _After(CursorPaginator):
    """Each page but the last one names what comes after it."""

    @property
    def place_of_next(self) -> str | None:
        """None: a list without it is whole."""
        return None


_LIST = _After(type="cursor", cursor_path="paging.next.after", cursor_param="after")


class _ById(SinglePage):
    """The next page begins after the last record's id."""

    def following(self, page: Page) -> Request | None:
        """Ask for the ids after the last one, where the answer says that more follow."""
        if not page.records or page.at("paging.next.after") is None:
            return None
        *bounds, _ = page.request.json["filterGroups"][0]["filters"]
        filters = [*bounds, _after_id(page.records[-1]["id"])]
        return replace(page.request, json={**page.request.json, "filterGroups": [{"filters": filters}]})


def _after_id(last: int | str) -> dict[str, str]:
    return {"propertyName": "hs_object_id", "operator": "GT", "value": str(last)}


def _results(document: Any) -> Records:
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise Unreadable("HubSpot's answer has no results.")
    return results


def _has_more_links(record: dict[str, Any]) -> bool:
    return any("paging" in page for page in record.get("associations", {}).values())


def _linked(links: dict[str, Any]) -> dict[str, Any]:
    return {"associations": links} if links else {}


def _moment(value: Cursor) -> datetime:
    found = moment_of(value) if isinstance(value, str) else None
    if found is None:
        raise Unreadable("A change time is not an ISO 8601 time.")
    return found.astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))
