"""Notion's API as far as a source asks it: users, search, database queries, blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from http_servers.server import Answer, Asked, Server, serving

TOKEN = "ntn_secret"


@dataclass
class Workspace:
    """What an integration sees."""

    users: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)  # pages and databases
    blocks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    relations: dict[tuple[str, str], list[dict[str, str]]] = field(
        default_factory=dict
    )  # by page and property

    def add_page(self, number: int, edited: str, database: str | None = None) -> None:
        parent = {"type": "database_id", "database_id": database} if database else {"type": "workspace"}
        page = {"object": "page", "id": f"page-{number}", "last_edited_time": edited, "parent": parent}
        self.objects = [other for other in self.objects if other["id"] != page["id"]] + [page]

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(status=401, body={"code": "unauthorized", "message": "API token is invalid."})
        if asked.headers.get("notion-version") != "2022-06-28":
            return Answer(
                status=400, body={"code": "missing_version", "message": "Notion-Version is missing."}
            )
        match asked.path.strip("/").split("/"):
            case ["v1", "users", "me"]:
                return Answer(body={"object": "user", "id": "bot", "name": "Reader"})
            case ["v1", "users"]:
                return _page(self.users, asked.query)
            case ["v1", "blocks", parent, "children"]:
                return _page(self.blocks.get(parent, []), asked.query)
            case ["v1", "pages", page, "properties", name]:
                [found] = [o for o in self.objects if o["id"] == page]
                items = [{"object": "property_item", "relation": r} for r in self.relations[page, name]]
                assert found
                return _page(items, asked.query)
            case ["v1", "search"]:
                wanted = asked.json["filter"]["value"]
                found = [o for o in self.objects if o["object"] == wanted]
                return _page(_newest_first(found), asked.json)
            case ["v1", "databases", database, "query"]:
                found = [o for o in self.objects if o.get("parent", {}).get("database_id") == database]
                return _page(_newest_first(found), asked.json)
        return Answer(status=404, body={"code": "object_not_found", "message": "Could not find it."})


@contextmanager
def workspace_server(workspace: Workspace) -> Iterator[Server]:
    """Serve a workspace."""
    with serving(workspace.answer) as server:
        yield server


def _newest_first(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda o: o["last_edited_time"], reverse=True)


def _page(found: list[dict[str, Any]], asked: dict[str, Any]) -> Answer:
    size, start = int(asked.get("page_size", 100)), int(asked.get("start_cursor", 0))
    if size > 100:
        return Answer(status=400, body={"code": "validation_error", "message": "page_size should be <= 100"})
    has_more = start + size < len(found)
    following = str(start + size) if has_more else None
    return Answer(
        body={"results": found[start : start + size], "next_cursor": following, "has_more": has_more}
    )
