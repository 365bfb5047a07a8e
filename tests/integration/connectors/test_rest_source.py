"""The REST source against real servers, page by page."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from http_servers.server import Answer, Asked, serving
from waiting import eventually

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unreadable
from headrace.connectors.kit.http.client import HttpClient, RequestRefused
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.rest.answers import NoRecords
from headrace.connectors.rest.connector import RestSource
from headrace.connectors.rest.read import ForeignAddress, RestReader

RECORDS = [{"id": number, "name": f"n{number}"} for number in range(25)]
Keys = dict[str, Any]


def source(url: str, **keys: Any) -> RestSource:
    return RestSource.model_validate({"base_url": url, "path": "/things", "data_selector": "results"} | keys)


def read(url: str, *, cursor: Any = None, field: str | None = None, **keys: Any) -> list[Any]:
    """Everything that a run yields, records one by one."""
    is_incremental = field is not None
    request = ReadRequest(
        stream=keys.pop("stream", "things"),
        sync_mode=SyncMode.INCREMENTAL if is_incremental else SyncMode.FULL_REFRESH,
        cursor_field=field,
        cursor=cursor,
        max_iterations=keys.pop("max_iterations", None),
        merges=keys.pop("merges", False),
    )
    found: list[Any] = []
    for item in source(url, **keys).read(request):
        found += [item] if isinstance(item, Checkpoint) else item
    return found


def by_offset(asked: Asked) -> Answer:
    start, limit = int(asked.query["offset"]), min(int(asked.query["limit"]), 10)
    return Answer(body={"results": RECORDS[start : start + limit], "total": len(RECORDS)})


def by_page(asked: Asked) -> Answer:
    start = (int(asked.query["page"]) - 1) * 10
    return Answer(body={"results": RECORDS[start : start + 10], "pages": 3, "more": start + 10 < 25})


def by_cursor(asked: Asked) -> Answer:
    start = int(asked.query.get("after", 0))
    page: Keys = {"results": RECORDS[start : start + 10]}
    if start + 10 < len(RECORDS):
        page["paging"] = {"next": {"after": str(start + 10)}}
    return Answer(body=page)


def by_body_cursor(asked: Asked) -> Answer:
    start = int(asked.json.get("page", {}).get("after", 0))
    more = start + 10 < len(RECORDS)
    return Answer(body={"results": RECORDS[start : start + 10], "next": str(start + 10), "has_more": more})


def by_link_header(asked: Asked) -> Answer:
    start = int(asked.query.get("start", 0))
    links = f'</things?start=0>; rel="first"; title="a, b", </things?start={start + 10}>; rel="next last"'
    headers = {"Link": links} if start + 10 < len(RECORDS) else {"Link": '</things>; rel="prev"'}
    return Answer(body={"results": RECORDS[start : start + 10]}, headers=headers)


def by_json_link(asked: Asked) -> Answer:
    start = int(asked.query.get("start", 0))
    following = f"http://{asked.headers['host']}/things?start={start + 10}" if start + 10 < 25 else None
    return Answer(body={"results": RECORDS[start : start + 10], "next": following})


@pytest.mark.parametrize(
    ("handler", "requests", "keys"),
    [
        (by_offset, 3, {"paginator": {"type": "offset", "limit": 10, "total_path": "total"}}),
        (by_offset, 4, {"paginator": {"type": "offset", "limit": 10}}),
        (by_offset, 3, {"paginator": {"type": "offset", "limit": 99, "total_path": "total"}}),  # held to 10
        (by_page, 4, {"paginator": {"type": "page_number", "base_page": 1}}),
        (by_page, 3, {"paginator": {"type": "page_number", "base_page": 1, "total_path": "pages"}}),
        (by_page, 3, {"paginator": {"type": "page_number", "base_page": 1, "has_more_path": "more"}}),
        (
            by_cursor,
            3,
            {"paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"}},
        ),
        (
            by_body_cursor,
            3,
            {
                "method": "POST",
                "json": {"page": {"size": 10}},
                "paginator": {
                    "type": "cursor",
                    "cursor_path": "next",
                    "cursor_body_path": "page.after",
                    "has_more_path": "has_more",
                },
            },
        ),
        (by_link_header, 3, {"paginator": "header_link"}),
        (by_json_link, 3, {"paginator": {"type": "json_link", "next_url_path": "next"}}),
        (by_cursor, 3, {}),
        (by_link_header, 3, {}),
        (by_json_link, 3, {"data_selector": None}),
    ],
)
def test_every_way_of_paging_brings_each_record_once(
    handler: Callable[..., Answer], requests: int, keys: Keys
):
    with serving(handler) as server:
        assert read(server.url, **keys) == RECORDS
        assert server.count == requests


def test_a_single_page_is_all_there_is():
    with serving(by_cursor) as server:
        assert read(server.url, paginator="single_page") == RECORDS[:10]


def test_max_pages_and_max_iterations_end_the_reading():
    with serving(by_cursor) as server:
        assert read(server.url, max_pages=2) == RECORDS[:20]
        assert read(server.url, max_iterations=1) == RECORDS[:10]


@pytest.mark.parametrize(
    ("body", "selector", "records"),
    [
        ([{"a": 1}], None, [{"a": 1}]),
        ({"meta": {}, "data": [{"a": 1}], "errors": []}, None, [{"a": 1}]),
        ({"odd name": [{"a": 1}]}, None, [{"a": 1}]),
        ({"a": 1}, "$", [{"a": 1}]),
        ({"a": {"b": [{"c": 1}]}}, "$.a.b", [{"c": 1}]),
        ({"a": [{"b": [{"c": 1}]}, {"b": [{"c": 2}]}]}, "a[*].b", [{"c": 1}, {"c": 2}]),
        ({"a": None}, "a", []),
        ({"a": {"b": 1}}, "a", [{"b": 1}]),
        (["x", 1], None, [{"value": "x"}, {"value": 1}]),
    ],
)
def test_records_are_found_in_the_answer(body: Any, selector: str | None, records: list[Any]):
    with serving(lambda asked: Answer(body=body)) as server:
        assert read(server.url, data_selector=selector) == records


def test_a_selector_that_leads_nowhere_is_an_error_and_not_an_empty_stream():
    with (
        serving(by_cursor) as server,
        pytest.raises(NoRecords, match="nothing at 'result'; it has 'results'"),
    ):
        read(server.url, data_selector="result")


def test_a_link_to_another_host_is_not_followed():
    with serving(lambda asked: Answer(body={"results": RECORDS})) as other:

        def handler(asked: Asked) -> Answer:
            return Answer(body={"results": RECORDS, "next": other.url.replace("127.0.0.1", "localhost")})

        keys: Keys = {"paginator": {"type": "json_link"}}
        with serving(handler) as server:
            with pytest.raises(ForeignAddress, match="leads to localhost"):
                read(server.url, **keys)
            allowed = read(server.url, allowed_hosts=["localhost"], repeated_pages="allow", **keys)

    assert len(allowed) == 50
    assert other.count == 1


@pytest.mark.parametrize(
    ("link", "followed"),
    [
        ("http://api.example.com/v1/x?page=2", "https://api.example.com/v1/x?page=2"),  # TLS ended by a proxy
        ("https://api.example.com:443/v1/x?page=2", "https://api.example.com:443/v1/x?page=2"),
        ("https://pages.example.com/2", "https://pages.example.com/2"),
        ("http://pages.example.com/2", None),  # named, and without TLS
        ("https://api.example.com:8443/v1/x", None),
        ("https://api.example.com.evil.example/", None),
        ("https://api.example.com@evil.example/", None),
        ("file:///etc/passwd", None),
    ],
)
def test_credentials_follow_links_to_known_servers_only(link: str, followed: str | None):
    api = source("https://api.example.com/v1", allowed_hosts=["pages.example.com"])
    first = Request(url="https://api.example.com/v1/x")
    with HttpClient() as client:
        reader = RestReader(api=api, client=client, log=logging.getLogger("test"))
        if followed is None:
            with pytest.raises(Unreadable):
                reader._checked(replace(first, url=link), first)
        else:
            assert reader._checked(replace(first, url=link), first).url == followed


def test_a_metadata_service_is_never_read():
    with pytest.raises(ForbiddenAddress):
        read("http://169.254.169.254", path="latest/meta-data")


def test_a_secret_parameter_goes_with_links_that_lack_it():
    with serving(by_json_link) as server:
        read(server.url, params={"api_key": "s", "limit": 10}, paginator={"type": "json_link"})

        assert [asked.query.get("api_key") for asked in server.asked] == ["s", "s", "s"]
        assert [asked.query.get("limit") for asked in server.asked] == ["10", None, None]


def changes(asked: Asked) -> Answer:
    """Records that were changed since, oldest or newest first."""
    since = int(asked.query.get("since", 0))
    found = [{"id": n, "at": n} for n in range(1, 31) if n >= since]
    if asked.query.get("order") == "desc":
        found.reverse()
    start = int(asked.query.get("offset", 0))
    return Answer(body={"results": found[start : start + 10]})


PAGED = {"paginator": {"type": "offset", "limit": 10}}


def test_an_incremental_run_asks_for_what_comes_after_the_cursor_and_leaves_out_what_it_has():
    incremental = {"start_param": "since", "cursor_path": "at", "row_order": "asc"}
    with serving(changes) as server:
        found = read(server.url, field="at", cursor=15, incremental=incremental, **PAGED)

        assert server.asked[0].query["since"] == "15"
        assert [item["id"] for item in found if isinstance(item, dict)] == list(range(16, 31))
        assert not any(isinstance(item, Checkpoint) for item in found)  # all was read: the highest counts


def test_going_on_from_where_a_trial_has_ended_loses_no_record():
    incremental = {"start_param": "since", "row_order": "asc"}
    with serving(changes) as server:
        for pages in (1, 2, 3):
            keys: Keys = {"incremental": incremental, "primary_key": "id", "max_iterations": pages}
            *found, item = read(server.url, field="at", **keys, **PAGED)
            before = {record["id"] for record in found}
            again = read(
                server.url, field="at", cursor=item.cursor, incremental=incremental, primary_key="id", **PAGED
            )
            after = {record["id"] for record in again if isinstance(record, dict)}

            assert before | after == set(range(1, 31))


def test_an_api_that_cannot_filter_is_read_whole_and_filtered_here():
    with serving(by_cursor) as server:
        assert read(server.url, field="id", cursor=19) == RECORDS[20:]


def test_reading_ends_at_the_first_old_record_where_the_newest_come_first():
    keys: Keys = {"params": {"order": "desc"}, "incremental": {"row_order": "desc"}}
    with serving(changes) as server:
        found = read(server.url, field="at", cursor=15, **keys, **PAGED)

        assert [record["id"] for record in found] == list(range(30, 15, -1))
        assert server.count == 2


def test_a_run_that_is_cut_short_leaves_nothing_out_for_good():
    with serving(changes) as server:
        cut = read(server.url, field="at", cursor=5, max_iterations=1, merges=True, **PAGED)
        ordered = read(
            server.url, field="at", cursor=5, max_iterations=1, incremental={"row_order": "asc"}, **PAGED
        )

    assert cut[-1] == Checkpoint(cursor=5)  # of any order: the next run reads the same again
    assert ordered[-1] == Checkpoint(cursor=10)


def test_the_cursor_goes_where_a_placeholder_stands():
    keys: Keys = {"method": "POST", "json": {"filter": {"after": "{incremental.start_value}", "n": 1}}}
    with serving(lambda asked: Answer(body={"results": []})) as server:
        read(server.url, field="at", cursor=15, **keys)

        assert server.asked[0].json == {"filter": {"after": 15, "n": 1}}


def family(asked: Asked) -> Answer:
    match asked.path.strip("/").split("/"):
        case ["v1", "users"]:
            return Answer(
                body=[{"id": "a/b", "name": "A"}, {"id": "..", "name": "B"}, {"id": "c", "name": "C"}]
            )
        case ["v1", "users", "c", "posts"]:
            return Answer(status=404)
        case ["v1", "users", user, "posts"]:
            return Answer(body=[{"post": f"{user}-1"}, {"post": f"{user}-2"}])
    return Answer(status=500)


FAMILY: Keys = {
    "path": "",
    "data_selector": None,
    "resources": [
        "users",
        {
            "name": "posts",
            "include_from_parent": ["name"],
            "endpoint": {
                "path": "users/{resources.users.id}/posts",
                "response_actions": [{"status_code": 404, "action": "ignore"}],
            },
        },
    ],
}


def test_a_stream_is_read_for_each_record_of_its_parent():
    with serving(family) as server:
        found = read(f"{server.url}/v1", stream="posts", **FAMILY)

    assert found == [
        {"post": "a%2Fb-1", "_users_name": "A"},
        {"post": "a%2Fb-2", "_users_name": "A"},
        {"post": "%2E%2E-1", "_users_name": "B"},
        {"post": "%2E%2E-2", "_users_name": "B"},
    ]


def test_a_status_that_is_not_ignored_ends_the_run():
    with serving(family) as server, pytest.raises(RequestRefused):
        read(f"{server.url}/v1/users/c/posts", path="", data_selector=None)


def test_check_reads_a_first_page():
    with serving(by_cursor) as server:
        assert source(server.url).check() == "The first page has 10 records."
        assert server.count == 1


def test_the_next_page_is_fetched_while_the_last_one_is_worked_on():
    def slow(asked: Asked) -> Answer:
        time.sleep(0.2)
        return by_cursor(asked)

    with serving(slow) as server:
        started = time.monotonic()
        for _ in source(server.url).read(ReadRequest(stream="things")):
            time.sleep(0.2)

    assert time.monotonic() - started < 1.15  # 1.2 s where nothing overlaps


def test_a_cancelled_run_ends_while_it_waits_for_the_server():
    class Cancelled(Exception):
        pass

    def check() -> None:
        if time.monotonic() - started > 0.3:
            raise Cancelled

    limited = Answer(status=429, headers={"Retry-After": "200"})
    with serving(lambda asked: limited) as server:
        started = time.monotonic()
        with pytest.raises(Cancelled):
            list(source(server.url).read(ReadRequest(stream="things", check=check)))

        assert time.monotonic() - started < 2
    assert_no_thread_is_left()


def test_a_reader_that_leaves_early_leaves_no_thread_behind():
    with serving(by_cursor) as server:
        reading = source(server.url).read(ReadRequest(stream="things"))
        next(iter(reading))
        reading.close()  # type: ignore[attr-defined]

    assert_no_thread_is_left()


def assert_no_thread_is_left() -> None:
    eventually(
        lambda: "headrace-prefetch" not in {thread.name for thread in threading.enumerate()},
        seconds=3,
        what="The end of all threads that fetch",
    )
