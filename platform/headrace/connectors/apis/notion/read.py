"""Reading Notion. https://developers.notion.com/reference has the endpoints; each gives 100 at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unreadable
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.connectors.kit.arrow.prefetch import ahead
from headrace.connectors.kit.http.authorization import authenticated_client
from headrace.connectors.kit.http.client import HttpClient
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.rest.answers import Records
from headrace.connectors.rest.api import RestApi
from headrace.connectors.rest.config import Endpoint, Incremental
from headrace.connectors.rest.incremental import Window
from headrace.connectors.rest.read import RestReader, newest_first, resumable

if TYPE_CHECKING:
    from headrace.connectors.apis.notion.config import NotionConfig

_VERSION = {"Notion-Version": "2022-06-28"}
_EDITED = "last_edited_time"
_PAGING = {"type": "cursor", "cursor_path": "next_cursor", "has_more_path": "has_more"}
_CUT = re.compile(rb'"has_more"\s*:\s*true')
_OWN_LISTS = ("child_page", "child_database")  # blocks whose contents are pages of their own


def check(source: NotionConfig) -> str:
    """Name the integration. Raises ConnectorError."""
    with _client(source, logging.getLogger("headrace.connector")) as client:
        url = f"{source.base_url.rstrip('/')}/users/me"
        found = client.send(Request(url=url, headers=_VERSION)).json()
    name = found.get("name") if isinstance(found, dict) else None
    return f"Connected as {name or 'an integration without a name'}."


def read(source: NotionConfig, request: ReadRequest) -> Iterator[Records | Checkpoint]:
    """Yield a stream's objects page by page. Raises ConnectorError."""
    with _client(source, request.log) as client:
        reader = RestReader(
            api=RestApi(base_url=source.base_url), client=client, log=request.log, warn=request.warn
        )
        yield from ahead(_Reading(source, request, reader).items(), request.check)


def _client(source: NotionConfig, log: logging.Logger) -> HttpClient:
    return authenticated_client(source.authentication, limits=source.limits, log=log)


@dataclass(frozen=True)
class _Reading:
    source: NotionConfig
    request: ReadRequest
    reader: RestReader

    def items(self) -> Iterator[Records | Checkpoint]:
        """Yield the pages and, after a run over several lists, the place from which the next goes on."""
        # Not the last edit that was read: a list that was read first may have changed before it.
        latest = self._latest_edit() if self._reads_several_lists else None
        yield from resumable(self.pages(self.request.stream), self.request, latest)

    @property
    def _reads_several_lists(self) -> bool:
        is_incremental = self.request.sync_mode is SyncMode.INCREMENTAL
        return is_incremental and self.request.stream == "pages" and len(self.source.database_ids) > 1

    def _latest_edit(self) -> str | None:
        newest = {**_search_for("page"), "page_size": 1}
        found = next(self._endpoint({"path": "search", "method": "POST", "json": newest}), [])
        return found[0][_EDITED] if found else None

    def pages(self, stream: str) -> Iterator[Records]:
        """Yield the pages of a stream."""
        match stream:
            case "users":
                yield from self._list("users")
            case "databases":
                yield from self._searched("database")
            case "pages" if self.source.database_ids:
                for database in self.source.database_ids:
                    yield from self._queried(database)
            case "pages":
                yield from self._searched("page")
            case "blocks":
                for page in self.pages("pages"):
                    for found in page:
                        yield from self._blocks(found["id"], found["id"])
            case _:
                raise Unreadable(f"There is no stream {stream!r}.")

    @property
    def _window(self) -> Window:
        # The newest come first, so that a run ends where the last one began. Edits are timed to the minute:
        # what has the cursor's own minute is read again and merged.
        is_incremental = self.request.sync_mode is SyncMode.INCREMENTAL
        return Window(
            spec=Incremental(row_order="desc"),
            cursor_field=_EDITED,
            after=self.request.cursor if is_incremental else None,
            inclusive=self.request.inclusive,
        )

    def _searched(self, kind: str) -> Iterator[Records]:
        yield from self._new(self._post("search", _search_for(kind)))

    def _queried(self, database: str) -> Iterator[Records]:
        body = {"sorts": [{"timestamp": _EDITED, "direction": "descending"}]}
        yield from self._new(self._post(f"databases/{database}/query", body))

    def _new(self, pages: Iterator[Records]) -> Iterator[Records]:
        for records in newest_first(pages, self._window, self.request.warn):
            yield self._with_all_relations(records)

    def _with_all_relations(self, records: Records) -> Records:
        """Read on the relations of pages: a list gives the first 25 of each."""
        if isinstance(records, JsonRecords) and not any(map(_CUT.search, records.lists)):
            return records
        return [self._completed(record) for record in records]

    def _completed(self, record: dict[str, Any]) -> dict[str, Any]:
        properties = record.get("properties")
        if not isinstance(properties, dict):
            return record
        return {**record, "properties": {name: self._whole(record, p) for name, p in properties.items()}}

    def _whole(self, record: dict[str, Any], found: Any) -> Any:
        if not isinstance(found, dict) or found.get("has_more") is not True or "relation" not in found:
            return found
        path = f"pages/{record['id']}/properties/{found['id']}"
        items = [item["relation"] for page in self._list(path) for item in page]
        return {**found, "relation": items, "has_more": False}

    def _blocks(self, parent: str, page: str) -> Iterator[Records]:
        """Yield a page's blocks, each list before what lies inside its blocks."""
        for records in self._list(f"blocks/{parent}/children"):
            yield [{**record, "_page_id": page} for record in records]
            for record in records:
                if record.get("has_children") and record.get("type") not in _OWN_LISTS:
                    yield from self._blocks(record["id"], page)

    def _list(self, path: str) -> Iterator[Records]:
        paginator = _PAGING | {"cursor_param": "start_cursor"}
        params = {"page_size": self.source.page_size}
        return self._endpoint({"path": path, "params": params, "paginator": paginator})

    def _post(self, path: str, body: dict[str, Any]) -> Iterator[Records]:
        paginator = _PAGING | {"cursor_body_path": "start_cursor"}
        sized = body | {"page_size": self.source.page_size}
        return self._endpoint({"path": path, "method": "POST", "json": sized, "paginator": paginator})

    def _endpoint(self, keys: dict[str, Any]) -> Iterator[Records]:
        endpoint = Endpoint.model_validate({"data_selector": "results", "headers": _VERSION, **keys})
        return self.reader.endpoint_pages(endpoint, Window(), {})


def _search_for(kind: str) -> dict[str, Any]:
    return {
        "filter": {"property": "object", "value": kind},
        "sort": {"timestamp": _EDITED, "direction": "descending"},
    }
