"""HubSpot's CRM API as far as a source asks it: lists, search with its cap, properties, batches, limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from http_servers.server import Answer, Asked, Server, serving

FIRST_CHANGE = datetime(2024, 1, 1, tzinfo=UTC)
_SEARCH_CAP = 10_000
_CHANGED = {
    "contacts": "lastmodifieddate",
    "companies": "hs_lastmodifieddate",
    "deals": "hs_lastmodifieddate",
}


@dataclass
class Portal:
    """One account's records, by object and id, and how the API behaves."""

    token: str = "pat-eu1-secret"
    records: dict[str, dict[int, dict[str, Any]]] = field(
        default_factory=lambda: {"contacts": {}, "companies": {}, "deals": {}}
    )
    properties: list[str] = field(default_factory=lambda: ["email", "firstname", "lastname"])
    links: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    refuse_next: int = 0  # requests to answer with 429
    search_cap: int = _SEARCH_CAP
    most_links: int = 1000  # of one record in one answer
    gone: set[int] = field(default_factory=set)  # listed, and deleted before the next request

    def add(self, kind: str, number: int, changed: datetime | None = None, *, archived: bool = False) -> None:
        """Put a record in the place of what has its id."""
        moment = changed or FIRST_CHANGE + timedelta(seconds=number)
        self.records[kind][number] = {
            "id": str(number),
            "properties": {name: f"{name} {number}" for name in self.properties}
            | {_CHANGED[kind]: text(moment), "hs_object_id": str(number)},
            "createdAt": text(FIRST_CHANGE),
            "updatedAt": text(moment),
            "archived": archived,
        } | ({"archivedAt": text(moment)} if archived else {})

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return _error(
                401, "Authentication credentials not found: " + asked.headers.get("authorization", "")
            )
        if self.refuse_next:
            self.refuse_next -= 1
            limited = {"message": "You have reached your ten_secondly_rolling limit.", "policyName": "X"}
            return Answer(status=429, body=limited, headers={"Retry-After": "0"})
        match asked.path.strip("/").split("/"):
            case ["crm", "v3", "properties", kind]:
                names = [*self.properties, _CHANGED[kind], "hs_object_id"]
                return Answer(body={"results": [{"name": name} for name in names]})
            case ["crm", "v3", "objects", kind]:
                return self._list(kind, asked)
            case ["crm", "v3", "objects", kind, "search"]:
                return self._search(kind, asked.json)
            case ["crm", "v3", "objects", kind, "batch", "read"]:
                return self._batch(kind, asked.json)
            case ["crm", "v3", "associations", kind, target, "batch", "read"]:
                return self._links(kind, target, asked.json)
        return _error(404, "No such endpoint")

    def _list(self, kind: str, asked: Asked) -> Answer:
        limit = int(asked.query.get("limit", 10))
        if not 1 <= limit <= 100 or len(asked.path) + sum(map(len, asked.query.values())) > 8000:
            return _error(400, "The limit or the URL is too long")
        archived = asked.query.get("archived") == "true"
        after = int(asked.query.get("after", 0))
        found = [r for n, r in sorted(self.records[kind].items()) if n > after and r["archived"] is archived]
        names = asked.query.get("properties", "").split(",")
        shown = [self._linked(kind, _with(r, names), asked.query.get("associations")) for r in found[:limit]]
        page: dict[str, Any] = {"results": shown}
        if len(found) > limit:
            page["paging"] = {"next": {"after": shown[-1]["id"], "link": "https://api.hubapi.com/ignored"}}
        return Answer(body=page)

    def _search(self, kind: str, query: dict[str, Any]) -> Answer:
        limit, after = query.get("limit", 10), int(query.get("after", 0))
        if limit > 200 or after + limit > self.search_cap:
            return _error(400, "The search offset may not exceed 10000")
        filters = [f for group in query["filterGroups"] for f in group["filters"]]
        records = [r for r in self.records[kind].values() if not r["archived"]]
        found = [r for r in records if all(_matches(r, f) for f in filters)]
        [sort] = query["sorts"]
        found.sort(
            key=lambda r: _number(r["properties"][sort["propertyName"]]), reverse="DESC" in sort["direction"]
        )
        shown = [_with(r, query["properties"]) for r in found[after : after + limit]]
        page: dict[str, Any] = {"total": len(found), "results": shown}
        if after + limit < len(found):
            page["paging"] = {"next": {"after": str(after + limit)}}
        return Answer(body=page)

    def _batch(self, kind: str, query: dict[str, Any]) -> Answer:
        if len(query["inputs"]) > 100:
            return _error(400, "Too many inputs")
        numbers = [int(wanted["id"]) for wanted in query["inputs"]]
        found = [self.records[kind][number] for number in numbers if number not in self.gone]
        return Answer(status=207, body={"results": [_with(r, query["properties"]) for r in found]})

    def _links(self, kind: str, target: str, query: dict[str, Any]) -> Answer:
        found = [
            {"from": {"id": wanted["id"]}, **self._links_from(ids, int(wanted.get("after", 0)), "to")}
            for wanted in query["inputs"]
            if (ids := self.links.get((kind, wanted["id"], target)))
        ]
        return Answer(status=207, body={"results": found})

    def _links_from(self, ids: list[str], start: int, name: str) -> dict[str, Any]:
        end = start + self.most_links
        page: dict[str, Any] = {name: [{"id": i, "type": "x"} for i in ids[start:end]]}
        return page | ({"paging": {"next": {"after": str(end)}}} if end < len(ids) else {})

    def _linked(self, kind: str, record: dict[str, Any], targets: str | None) -> dict[str, Any]:
        links = {
            target: self._links_from(ids, 0, "results")
            for target in (targets or "").split(",")
            if (ids := self.links.get((kind, record["id"], target)))
        }
        return record | ({"associations": links} if links else {})


@contextmanager
def portal_server(portal: Portal) -> Iterator[Server]:
    """Serve an account."""
    with serving(portal.answer) as server:
        yield server


def text(moment: datetime) -> str:
    """A moment as HubSpot writes it: no milliseconds where there are none."""
    form = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return form.replace("+00:00", "Z")


def _with(record: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return record | {"properties": {n: v for n, v in record["properties"].items() if n in names}}


def _matches(record: dict[str, Any], wanted: dict[str, str]) -> bool:
    value, bound = _number(record["properties"][wanted["propertyName"]]), float(wanted["value"])
    return {"GTE": value >= bound, "LTE": value <= bound, "GT": value > bound}[wanted["operator"]]


def _number(value: str) -> float:
    return float(value) if value.isdigit() else datetime.fromisoformat(value).timestamp() * 1000


def _error(status: int, message: str) -> Answer:
    return Answer(status=status, body={"status": "error", "message": message})
