"""The Notion source against a server that behaves as Notion's API does."""

from typing import Any

import pytest
from http_servers.notion import TOKEN, Workspace, workspace_server

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unauthorized
from headrace.connectors.apis.notion.connector import NotionSource


def source(url: str, token: str = TOKEN, **keys: Any) -> NotionSource:
    authentication = {"type": "api_key", "params": {"token": token}}
    return NotionSource.model_validate({"authentication": authentication, "base_url": f"{url}/v1"} | keys)


def read(url: str, stream: str, *, cursor: str | None = None, **keys: Any) -> tuple[list[str], str | None]:
    """The ids that a run reads, and its last checkpoint."""
    request = ReadRequest(
        stream=stream,
        sync_mode=SyncMode.INCREMENTAL if "incremental" in keys or cursor else SyncMode.FULL_REFRESH,
        cursor_field="last_edited_time",
        cursor=cursor,
        inclusive=cursor is not None,
    )
    keys.pop("incremental", None)
    found: list[str] = []
    checkpoint = None
    for item in source(url, **keys).read(request):
        if isinstance(item, Checkpoint):
            checkpoint = item.cursor
        else:
            found += [record["id"] for record in item]
    return found, checkpoint


def minute(number: int) -> str:
    return f"2024-01-01T{number // 60:02}:{number % 60:02}:00.000Z"


def workspace_of(pages: int) -> Workspace:
    workspace = Workspace(users=[{"object": "user", "id": f"user-{n}"} for n in range(150)])
    for number in range(pages):
        workspace.add_page(number, minute(number), database="ab"[number % 2])
    workspace.objects += [{"object": "database", "id": "a", "last_edited_time": minute(3)}]
    return workspace


def test_users_are_read_to_the_last_page():
    with workspace_server(workspace_of(0)) as server:
        assert read(server.url, "users")[0] == [f"user-{n}" for n in range(150)]


def test_databases_and_all_pages_are_found_by_search():
    with workspace_server(workspace_of(230)) as server:
        assert read(server.url, "databases")[0] == ["a"]
        assert sorted(read(server.url, "pages")[0]) == sorted(f"page-{n}" for n in range(230))


def test_pages_of_chosen_databases_alone_are_read():
    with workspace_server(workspace_of(6)) as server:
        assert read(server.url, "pages", database_ids=["b"])[0] == ["page-5", "page-3", "page-1"]


def test_a_relation_of_which_a_list_gives_the_start_alone_is_read_on():
    workspace = workspace_of(2)
    links = [{"id": f"page-{n}"} for n in range(130)]
    workspace.relations["page-1", "r%3A1"] = links
    for page, shown in (("page-0", links[:2]), ("page-1", links[:25])):
        relation = {"id": "r%3A1", "type": "relation", "relation": shown, "has_more": page == "page-1"}
        [found] = [o for o in workspace.objects if o["id"] == page]
        found["properties"] = {"Tasks": relation, "Done": {"id": "d", "type": "checkbox", "checkbox": True}}
    with workspace_server(workspace) as server:
        pages = list(source(server.url).read(ReadRequest(stream="pages")))

    read_ = {record["id"]: record["properties"] for page in pages for record in page}  # type: ignore[union-attr]
    assert read_["page-1"]["Tasks"] == {
        "id": "r%3A1",
        "type": "relation",
        "relation": links,
        "has_more": False,
    }
    assert read_["page-0"]["Tasks"]["relation"] == links[:2]
    assert read_["page-1"]["Done"]["checkbox"] is True


def test_an_incremental_run_ends_at_the_first_page_that_was_edited_before():
    with workspace_server(workspace_of(450)) as server:
        found, _ = read(server.url, "pages", cursor=minute(440))

        # The cursor's own minute is read again: Notion's times are no finer.
        assert sorted(found) == sorted(f"page-{n}" for n in range(440, 450))
        assert server.count == 1


def test_a_run_over_several_databases_goes_on_from_where_the_first_was_read():
    workspace = workspace_of(6)
    with workspace_server(workspace) as server:
        _, checkpoint = read(server.url, "pages", database_ids=["a", "b"], incremental=True)

        assert checkpoint == minute(5)
        assert read(server.url, "pages", cursor=checkpoint, database_ids=["a", "b"])[0] == ["page-5"]


def test_blocks_are_read_with_what_lies_inside_them():
    workspace = Workspace()
    workspace.add_page(1, minute(1))
    workspace.blocks = {
        "page-1": [{"id": f"block-{n}", "type": "paragraph", "has_children": n == 2} for n in range(120)]
        + [{"id": "sub-page", "type": "child_page", "has_children": True}],
        "block-2": [{"id": "inner", "type": "paragraph", "has_children": False}],
        "sub-page": [{"id": "not-a-block-of-this-page"}],
    }
    with workspace_server(workspace) as server:
        found, _ = read(server.url, "blocks")

    assert sorted(found) == sorted([*(f"block-{n}" for n in range(120)), "sub-page", "inner"])


def test_check_names_the_integration_and_refuses_a_wrong_token():
    with workspace_server(Workspace()) as server:
        assert source(server.url).check() == "Connected as Reader."
        with pytest.raises(Unauthorized, match="API token is invalid"):
            source(server.url, token="wrong").check()
