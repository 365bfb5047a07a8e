"""A REST source ends where the list ends: never early without a word, never not at all."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from http_servers.server import Answer, Asked, serving

from headrace.connectors import ReadRequest, RunWarning
from headrace.connectors.rest import trail
from headrace.connectors.rest.answers import ErrorAnswer, NoRecords
from headrace.connectors.rest.connector import RestSource
from headrace.connectors.rest.trail import MorePages, RepeatedPage, TooManyPages

Keys = dict[str, Any]
ROWS = [{"id": number} for number in range(10)]


def read(url: str, **keys: Any) -> tuple[list[Any], list[RunWarning]]:
    """The records of a full refresh, and its warnings."""
    warnings: list[RunWarning] = []
    source = RestSource.model_validate({"base_url": url, "path": "/things"} | keys)
    pages = source.read(ReadRequest(stream="things", warn=warnings.append))
    return [record for page in pages for record in page], warnings  # type: ignore[union-attr]


def codes(warnings: list[RunWarning]) -> list[str]:
    return [warning.code for warning in warnings]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 17, "message": "Too many calls"}},
        {"errors": [{"message": "Too many calls"}]},
        {"data": None, "errors": [{"message": "Too many calls"}]},
        {"data": [], "error": "Too many calls"},
        {"success": False, "message": "Too many calls", "data": []},
        {"ok": False, "error": "Too many calls"},
        {"status": "error", "message": "Too many calls"},
        {"Error": True, "Message": "x", "message": "Too many calls"},
    ],
)
@pytest.mark.parametrize("selector", [None, "data", "$"])
def test_an_error_with_a_status_of_success_is_no_record(body: Any, selector: str | None):
    with (
        serving(lambda asked: Answer(body=body)) as server,
        pytest.raises(ErrorAnswer, match="Too many calls"),
    ):
        read(server.url, data_selector=selector)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Try later"},
        {"a": [{}], "b": [{}]},
        {"tags": ["x"]},
        "down for maintenance",
        7,
        {"data": {"items": []}},
        {"links": [{"rel": "self"}]},
    ],
)
def test_a_guess_finds_a_list_of_records_or_fails(body: Any):
    with serving(lambda asked: Answer(body=body)) as server, pytest.raises(NoRecords):
        read(server.url)


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        ({"data": ROWS, "error": None, "errors": [], "success": True}, {}),
        ({"data": ROWS, "error": {"code": 0, "message": "OK"}, "status": "ok"}, {"data_selector": "data"}),
        ({"id": 1, "status": "failed", "error": "disk"}, {"data_selector": "$"}),
        ({"data": []}, {}),
    ],
)
def test_an_answer_that_has_records_is_no_error(body: Any, keys: Keys):
    with serving(lambda asked: Answer(body=body)) as server:
        _, warnings = read(server.url, paginator="single_page", **keys)

    assert warnings == []


@pytest.mark.parametrize("selector", [None, "$"])
@pytest.mark.parametrize("body", [{"message": "Try later", "documentation_url": "x"}, {"down": "until noon"}])
def test_a_list_that_goes_on_with_an_object_is_an_error(body: Any, selector: str | None):
    def handler(asked: Asked) -> Answer:
        first = Answer(body=ROWS, headers={"Link": '</things?b=1>; rel="Next"'})
        return first if "b" not in asked.query else Answer(body=body)

    with serving(handler) as server, pytest.raises((ErrorAnswer, NoRecords)):
        read(server.url, data_selector=selector)


def test_a_message_in_the_place_of_a_record_is_no_record():
    body = {"message": "API rate limit exceeded", "documentation_url": "https://docs.example.com"}
    with serving(lambda asked: Answer(body=body)) as server, pytest.raises(ErrorAnswer, match="rate limit"):
        read(server.url, data_selector="$")


def test_errors_beside_records_are_told():
    body = {"data": ROWS, "errors": [{"message": "One shard is down"}]}
    with serving(lambda asked: Answer(body=body)) as server:
        records, warnings = read(server.url)

    assert (records, codes(warnings)) == (ROWS, ["rest.partial_answer"])


@pytest.mark.parametrize("status", [204, 205])
def test_no_content_is_an_empty_last_page(status: int):
    def handler(asked: Asked) -> Answer:
        return Answer(body={"data": ROWS}) if asked.query["page"] == "1" else Answer(status=status)

    with serving(handler) as server:
        assert read(server.url, paginator={"type": "page_number", "base_page": 1}) == (ROWS, [])


NEXT_LINKS: list[Callable[[str], Keys]] = [
    lambda url: {"@odata.nextLink": url},
    lambda url: {"odata.nextLink": url},
    lambda url: {"nextLink": url},
    lambda url: {"next_page_url": url, "current_page": 1, "last_page": 2},
    lambda url: {"links": {"next": {"href": url}}},
    lambda url: {"_links": {"next": {"href": url}}},
    lambda url: {"paging": {"next": url, "cursors": {"after": "x"}}},
    lambda url: {"info": {"count": 20, "pages": 2, "next": url}},
    lambda url: {"nextRecordsUrl": "/things?skip=1", "done": False, "totalSize": 20},
]


@pytest.mark.parametrize("links", NEXT_LINKS)
def test_a_link_to_the_next_page_is_followed_wherever_apis_put_it(links: Callable[[str], Keys]):
    def handler(asked: Asked) -> Answer:
        if "skip" in asked.query:
            return Answer(body={"value": [{"id": 10}]})
        return Answer(body={"value": ROWS} | links(f"http://{asked.headers['host']}/things?skip=1"))

    with serving(handler) as server:
        assert read(server.url) == ([*ROWS, {"id": 10}], [])


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("pageToken", {"nextPageToken": "t"}),
        ("page_token", {"next_page_token": "t"}),
        ("cursor", {"ok": True, "response_metadata": {"next_cursor": "t"}}),
    ],
)
def test_a_token_whose_parameter_is_known_is_sent_back(param: str, told: Keys):
    def handler(asked: Asked) -> Answer:
        return Answer(
            body={"items": [{"id": 10}]} if asked.query.get(param) == "t" else {"items": ROWS} | told
        )

    with serving(handler) as server:
        assert read(server.url) == ([*ROWS, {"id": 10}], [])


SIGNS: list[Keys] = [
    {"has_more": True},
    {"hasMore": True},
    {"meta": {"has_next_page": True}},
    {"pageInfo": {"hasNextPage": True, "endCursor": "x"}},
    {"next_cursor": "abc"},
    {"next_page": 2},
    {"paging": {"next": {"link": None, "token": "x"}}},
    {"total": 11},
    {"meta": {"pagination": {"total": 25, "pageCount": 3}}},
    {"@odata.totalCount": 11},
    {"page": 1, "total_pages": 3},
    {"last": False, "totalElements": 10},
    {"links": [{"rel": "self", "href": "/"}, {"rel": "next", "href": "/2"}]},
    {"LastEvaluatedKey": {"id": "x"}},
]


def test_a_sign_beside_records_that_lie_deep_is_seen():
    body = {"data": {"viewer": {"things": {"nodes": ROWS, "pageInfo": {"hasNextPage": True}}}}}
    with serving(lambda asked: Answer(body=body)) as server, pytest.raises(MorePages, match="hasNextPage"):
        read(server.url, data_selector="data.viewer.things.nodes")


@pytest.mark.parametrize("sign", SIGNS)
def test_a_guess_that_would_leave_pages_out_fails_the_run(sign: Keys):
    with serving(lambda asked: Answer(body={"items": ROWS} | sign)) as server:
        with pytest.raises(MorePages):
            read(server.url)
        chosen = read(server.url, paginator="single_page")

    assert (chosen[0], codes(chosen[1])) == (ROWS, ["rest.more_pages"])


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Total-Count": "11"},
        {"X-WP-TotalPages": "2"},
        {"X-Next-Page": "2"},
        {"Content-Range": "items 0-9/319"},
    ],
)
def test_a_header_tells_of_more_pages_too(headers: dict[str, str]):
    with serving(lambda asked: Answer(body=ROWS, headers=headers)) as server, pytest.raises(MorePages):
        read(server.url)


@pytest.mark.parametrize(
    "body",
    [
        {"items": ROWS, "total": 10, "has_more": False, "next": None, "pages": 1, "page": 1},
        {"items": ROWS, "meta": {"next_cursor": "", "total": 10}, "last": True},
        {"items": ROWS, "total": 3},
        ROWS,
    ],
)
def test_a_list_in_one_page_gives_no_warning(body: Any):
    headers = {"X-Total-Count": "10", "Content-Range": "0-9/10", "X-Next-Page": ""}
    with serving(lambda asked: Answer(body=body, headers=headers)) as server:
        assert read(server.url) == (ROWS, [])


def test_a_number_that_may_mean_more_is_told():
    with serving(lambda asked: Answer(body={"items": ROWS, "count": 100})) as server:
        records, warnings = read(server.url)

    assert (records, codes(warnings)) == (ROWS, ["rest.more_pages"])


@pytest.mark.parametrize(
    "paginator",
    [
        {"type": "cursor", "cursor_path": "paging.after"},
        {"type": "json_link", "next_url_path": "links.more"},
    ],
)
def test_a_place_of_the_next_page_that_is_never_there_is_told_or_fails(paginator: Keys):
    with serving(lambda asked: Answer(body={"data": ROWS})) as server:
        records, warnings = read(server.url, paginator=paginator)
    assert (records, codes(warnings)) == (ROWS, ["rest.no_next"])

    with (
        serving(lambda asked: Answer(body={"data": ROWS, "total": 99})) as server,
        pytest.raises(MorePages, match="`total` is 99 and 10 records came, and there is nothing at"),
    ):
        read(server.url, paginator=paginator)


def test_a_place_that_was_there_once_may_be_missing_at_the_end():
    def handler(asked: Asked) -> Answer:
        return Answer(body={"data": [{"id": 11}]} if asked.query else {"data": ROWS, "next": "b"})

    with serving(handler) as server:
        paginator = {"type": "cursor", "cursor_path": "next", "has_more_path": "never.there"}
        assert read(server.url, paginator=paginator) == ([*ROWS, {"id": 11}], [])


def test_a_first_page_that_is_empty_beside_a_total_fails():
    def handler(asked: Asked) -> Answer:
        page = int(asked.query["page"])
        return Answer(body={"data": ROWS if page == 1 else [], "total": 10})

    with serving(handler) as server:
        assert read(server.url, paginator={"type": "page_number", "base_page": 1}) == (ROWS, [])
        with pytest.raises(MorePages):
            read(server.url, paginator={"type": "page_number"})  # which begins at 0


def test_a_selector_into_lists_that_none_of_them_has_is_an_error():
    body = {"groups": [{"a": 1}, {"b": 2}]}
    with serving(lambda asked: Answer(body=body)) as server, pytest.raises(NoRecords):
        read(server.url, data_selector="groups[*].members")
    with serving(lambda asked: Answer(body={"groups": []})) as server:
        assert read(server.url, data_selector="groups[*].members") == ([], [])


def circle(*cursors: str) -> Callable[[Asked], Answer]:
    """Pages of different records, each of which names the next one, and the last one the first."""
    following = dict(zip(cursors, [*cursors[1:], cursors[0]], strict=True))
    serial = count()

    def handler(asked: Asked) -> Answer:
        after = asked.query.get("cursor")
        return Answer(body={"data": [{"n": next(serial)}], "next": following[after] if after else cursors[0]})

    return handler


def fresh_cursors(asked: Asked) -> Answer:
    fresh_cursors.made += 1  # type: ignore[attr-defined]
    return Answer(body={"data": ROWS, "next": f"c{fresh_cursors.made}"})  # type: ignore[attr-defined]


fresh_cursors.made = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("handler", "paginator"),
    [
        (
            lambda asked: Answer(body={"data": [{"id": min(int(asked.query["page"]), 3)}]}),
            {"type": "page_number"},
        ),
        (lambda asked: Answer(body={"data": ROWS}), {"type": "offset", "limit": 10}),
        (
            lambda asked: Answer(body={"data": ROWS}),
            {"type": "offset", "limit": 3, "stop_after_empty_page": False},
        ),
        (circle("a"), {"type": "cursor", "cursor_path": "next"}),
        (circle("a", "b"), {"type": "cursor", "cursor_path": "next"}),
        (circle(*"abcdefg"), {"type": "cursor", "cursor_path": "next"}),
        (lambda asked: Answer(body={"data": ROWS, "next": "/things?b=1"}), {"type": "json_link"}),
        (
            lambda asked: Answer(body={"data": ROWS}, headers={"Link": '</things?b=1>; rel="next"'}),
            "header_link",
        ),
        (fresh_cursors, {"type": "cursor", "cursor_path": "next"}),
    ],
)
def test_pages_that_repeat_end_the_run(handler: Callable[[Asked], Answer], paginator: Any):
    with serving(handler) as server:
        with pytest.raises(RepeatedPage):
            read(server.url, paginator=paginator)

        assert server.count < 12


def test_pages_that_are_alike_are_read_where_the_configuration_says_so():
    def handler(asked: Asked) -> Answer:
        return Answer(body={"data": [0, 0] if int(asked.query["page"]) < 3 else []})

    with serving(handler) as server:
        records, _ = read(server.url, paginator={"type": "page_number"}, repeated_pages="allow")

    assert records == [{"value": 0}] * 6


def endless(asked: Asked) -> Answer:
    return Answer(body={"data": [{"page": asked.query["page"]}]})


def test_a_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trail, "MOST_PAGES", 20)
    with serving(endless) as server, pytest.raises(TooManyPages, match="20 pages were read"):
        read(server.url, paginator="page_number")


def test_a_list_of_empty_pages_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trail, "MOST_EMPTY_PAGES", 20)
    serial = count()
    with (
        serving(lambda asked: Answer(body={"data": [], "next": str(next(serial))})) as server,
        pytest.raises(RepeatedPage, match="20 pages in a row have no records"),
    ):
        read(server.url, paginator={"type": "cursor", "cursor_path": "next"})


def test_a_bound_that_leaves_pages_out_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trail, "MOST_PAGES", 20)
    with serving(endless) as server:
        records, warnings = read(server.url, paginator="page_number", max_pages=30)

    assert (len(records), codes(warnings)) == (30, ["rest.max_pages"])


def _growing(rows: list[Any], added: int, *, total: bool = False) -> Callable[[Asked], Answer]:
    """Answer by offset, four rows at once; from page 2 on the list has `added` rows more before it."""

    def handler(asked: Asked) -> Answer:
        offset = int(asked.query["offset"])
        now = [{"id": -number} for number in range(1, added + 1)] + rows if offset else rows
        body: Keys = {"data": now[offset : offset + 4]}
        return Answer(body=body | ({"total": len(now)} if total else {}))

    return handler


@pytest.mark.parametrize("added", [1, 3])
def test_rows_that_an_insertion_moves_to_the_next_page_come_once_where_a_key_tells_them(added: int):
    offset = {"type": "offset", "limit": 4}
    with serving(_growing(ROWS, added)) as server:
        keyed = read(server.url, paginator=offset, primary_key="id")
        keyless = read(server.url, paginator=offset)

    assert keyed[0] == ROWS
    assert keyless[0] == [*ROWS[:4], *ROWS[4 - added :]]
    for _, warnings in (keyed, keyless):
        assert [(warning.code, warning.count) for warning in warnings] == [("rest.rows_shifted", added)]


def test_equal_rows_of_one_page_are_no_sign_of_a_shift():
    rows = [{"v": value} for value in (1, 1, 2, 3, 4, 4, 4, 5)]
    with serving(_growing(rows, 0)) as server:
        assert read(server.url, paginator={"type": "offset", "limit": 4}) == (rows, [])


def test_a_total_that_changes_meanwhile_is_told():
    with serving(_growing(ROWS, 4, total=True)) as server:
        _, warnings = read(
            server.url,
            paginator={"type": "offset", "limit": 4, "total_path": "total"},
            repeated_pages="allow",
        )

    assert "rest.total_changed" in codes(warnings)
