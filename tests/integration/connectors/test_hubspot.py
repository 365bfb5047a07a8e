"""The HubSpot source against a server that behaves as HubSpot's CRM API does, its limits included."""

from datetime import timedelta
from typing import Any

import pytest
from http_servers.hubspot import FIRST_CHANGE, Portal, portal_server, text
from http_servers.server import Answer, Asked, serving

from headrace.connectors import Checkpoint, ReadRequest, RunWarning, SyncMode, Unauthorized
from headrace.connectors.apis.hubspot.connector import HubspotSource


def source(url: str, portal: Portal, **keys: Any) -> HubspotSource:
    authentication = {"type": "api_key", "params": {"token": portal.token}}
    return HubspotSource.model_validate({"authentication": authentication, "base_url": url} | keys)


def read(
    url: str, portal: Portal, *, stream: str = "contacts", cursor: str | None = None, **keys: Any
) -> tuple[list[dict[str, Any]], str | None]:
    """The records of a run, and its last checkpoint."""
    mode = keys.pop("mode", SyncMode.FULL_REFRESH)
    request = ReadRequest(
        stream=stream,
        sync_mode=mode,
        cursor_field="updatedAt" if mode is SyncMode.INCREMENTAL else None,
        cursor=cursor,
        max_iterations=keys.pop("max_iterations", None),
        merges=True,
    )
    records: list[dict[str, Any]] = []
    checkpoint: str | None = None
    for item in source(url, portal, **keys).read(request):
        if isinstance(item, Checkpoint):
            checkpoint = item.cursor
        else:
            records += item
    return records, checkpoint


def changed(url: str, portal: Portal, cursor: str | None, **keys: Any) -> tuple[list[int], str | None]:
    """The ids that an incremental run reads, in order, and its last checkpoint."""
    found, checkpoint = read(url, portal, cursor=cursor, mode=SyncMode.INCREMENTAL, **keys)
    return sorted(int(record["id"]) for record in found), checkpoint


def portal_of(count: int, *, kind: str = "contacts", **keys: Any) -> Portal:
    portal = Portal(**keys)
    for number in range(1, count + 1):
        portal.add(kind, number)
    return portal


def ids(records: list[dict[str, Any]]) -> list[int]:
    return [int(record["id"]) for record in records]


@pytest.mark.parametrize("stream", ["contacts", "companies", "deals"])
@pytest.mark.parametrize("count", [0, 1, 100, 250])
def test_every_page_is_read_the_last_one_included(stream: str, count: int):
    portal = portal_of(count, kind=stream)
    with portal_server(portal) as server:
        records, _ = read(server.url, portal, stream=stream)

    assert ids(records) == list(range(1, count + 1))


def test_all_properties_are_those_that_the_account_defines():
    portal = portal_of(1, properties=["email", "favourite_colour"])
    with portal_server(portal) as server:
        [record], _ = read(server.url, portal)

    assert {"email", "favourite_colour", "lastmodifieddate"} <= record["properties"].keys()


def test_selected_properties_alone_are_asked_for():
    portal = portal_of(1)
    with portal_server(portal) as server:
        keys = {"strategy": "selected", "selected_properties": ["email"]}
        [record], _ = read(server.url, portal, properties=keys)

        assert record["properties"] == {"email": "email 1"}
        assert [asked.path for asked in server.asked] == ["/crm/v3/objects/contacts"]


def test_more_properties_than_a_url_can_name_are_read_in_batches():
    portal = portal_of(150, properties=[f"a_rather_long_property_name_{n}" for n in range(400)])
    with portal_server(portal) as server:
        records, _ = read(server.url, portal)

    assert ids(records) == list(range(1, 151))
    assert all(len(record["properties"]) == 402 for record in records)


def test_archived_records_are_read_when_asked_for():
    portal = portal_of(3)
    portal.add("contacts", 2, archived=True)
    with portal_server(portal) as server:
        assert ids(read(server.url, portal)[0]) == [1, 3]
        assert ids(read(server.url, portal, archived=True)[0]) == [1, 3, 2]


def test_associations_have_one_shape_whichever_way_a_record_is_read():
    portal = portal_of(2)
    portal.links["contacts", "1", "companies"] = ["7", "8"]
    with portal_server(portal) as server:
        whole, _ = read(server.url, portal, associations=["companies"])
        since = text(FIRST_CHANGE)
        new, _ = read(server.url, portal, cursor=since, mode=SyncMode.INCREMENTAL, associations=["companies"])

    links = {"companies": {"results": [{"id": "7", "type": "x"}, {"id": "8", "type": "x"}]}}
    assert [record.get("associations") for record in whole] == [links, None]
    assert [record.get("associations") for record in new] == [links, None]


def test_more_links_than_one_answer_has_are_all_read():
    portal = portal_of(3, most_links=2)
    portal.links[("contacts", "2", "companies")] = [str(n) for n in range(7)]
    portal.links[("contacts", "3", "companies")] = ["8", "9"]
    with portal_server(portal) as server:
        listed, checkpoint = read(server.url, portal, associations=["companies"], mode=SyncMode.INCREMENTAL)
        for number in (1, 2, 3):
            portal.add("contacts", number, FIRST_CHANGE + timedelta(days=1))
        searched, _ = read(
            server.url, portal, associations=["companies"], mode=SyncMode.INCREMENTAL, cursor=checkpoint
        )

    for records in (listed, searched):
        links = [record.get("associations", {}).get("companies") for record in records]
        assert links[0] is None
        assert [link["id"] for link in links[1]["results"]] == [str(n) for n in range(7)]
        assert [link["id"] for link in links[2]["results"]] == ["8", "9"]


def test_a_record_that_is_gone_before_its_properties_are_read_is_left_out_and_told():
    portal = portal_of(3, properties=[f"property_number_{n:03}" for n in range(600)], gone={2})
    warnings: list[RunWarning] = []
    with portal_server(portal) as server:
        request = ReadRequest(stream="contacts", warn=warnings.append)
        records = [record for page in source(server.url, portal).read(request) for record in page]  # type: ignore[union-attr]

    assert ids(records) == [1, 3]
    assert [(warning.code, warning.count) for warning in warnings] == [("hubspot.records_gone", 1)]


def test_requests_that_are_refused_as_too_many_are_sent_again():
    portal = portal_of(250, refuse_next=3)
    with portal_server(portal) as server:
        records, _ = read(server.url, portal)

    assert len(records) == 250


def test_the_first_incremental_run_reads_all_and_says_where_to_go_on():
    portal = portal_of(120)
    with portal_server(portal) as server:
        found, checkpoint = changed(server.url, portal, None)

    assert found == list(range(1, 121))
    assert checkpoint == "2024-01-01T00:02:00.000Z"


def test_the_next_incremental_run_reads_what_changed_since():
    portal = portal_of(120)
    with portal_server(portal) as server:
        _, checkpoint = changed(server.url, portal, None)
        portal.add("contacts", 5, FIRST_CHANGE + timedelta(hours=1, milliseconds=250))
        portal.add("contacts", 500, FIRST_CHANGE + timedelta(hours=2))
        found, last = changed(server.url, portal, checkpoint, lookback_seconds=0)

        assert found == [5, 120, 500]
        assert last == "2024-01-01T02:00:00.000Z"
        assert changed(server.url, portal, last, lookback_seconds=0) == ([500], last)


def test_search_looks_behind_the_cursor_for_what_its_index_held_back():
    portal = portal_of(120)
    with portal_server(portal) as server:
        found, _ = changed(server.url, portal, "2024-01-01T00:02:00Z", lookback_seconds=10)

    assert found == list(range(110, 121))


def test_more_changes_than_one_search_answers_are_all_read():
    portal = portal_of(2500, search_cap=1000)
    with portal_server(portal) as server:
        found, _ = changed(server.url, portal, text(FIRST_CHANGE))

    assert found == list(range(1, 2501))


def test_more_changes_of_one_moment_than_one_search_answers_are_all_read():
    portal = Portal(search_cap=400)
    for number in range(1, 1001):
        portal.add("deals", number, FIRST_CHANGE)
    with portal_server(portal) as server:
        found, _ = changed(server.url, portal, text(FIRST_CHANGE), stream="deals")

    assert found == list(range(1, 1001))


def test_a_change_during_a_run_is_found_by_the_next_one():
    portal = portal_of(300)
    with portal_server(portal) as server:
        reading = source(server.url, portal).read(
            ReadRequest(stream="contacts", sync_mode=SyncMode.INCREMENTAL, cursor_field="updatedAt")
        )
        items = iter(reading)
        next(items)
        # Number 1 has passed; number 300, which changes after it, has not.
        portal.add("contacts", 1, FIRST_CHANGE + timedelta(hours=1))
        portal.add("contacts", 300, FIRST_CHANGE + timedelta(hours=2))
        checkpoint = [item.cursor for item in items if isinstance(item, Checkpoint)][-1]

        found, _ = changed(server.url, portal, checkpoint, lookback_seconds=0)

    assert {1, 300} <= set(found)


def test_a_run_that_is_cut_short_does_not_move_the_cursor():
    portal = portal_of(500)
    with portal_server(portal) as server:
        found, checkpoint = changed(server.url, portal, text(FIRST_CHANGE), max_iterations=1)

    assert len(found) == 200
    assert checkpoint == text(FIRST_CHANGE)


def test_archived_records_of_an_incremental_run_are_those_archived_since():
    portal = portal_of(10)
    portal.add("contacts", 2, FIRST_CHANGE + timedelta(hours=1), archived=True)
    portal.add("contacts", 3, FIRST_CHANGE, archived=True)
    with portal_server(portal) as server:
        found, _ = changed(server.url, portal, "2024-01-01T00:30:00Z", archived=True, lookback_seconds=0)

    assert found == [2]


def test_an_account_without_changes_yields_nothing_new():
    portal = Portal()
    with portal_server(portal) as server:
        assert changed(server.url, portal, text(FIRST_CHANGE)) == ([], None)


def test_a_wrong_token_is_told_without_showing_it():
    portal = portal_of(1)
    with portal_server(portal) as server:
        wrong = source(server.url, Portal(token="pat-eu1-a-wrong-one"))
        for attempt in (wrong.check, lambda: list(wrong.read(ReadRequest(stream="contacts")))):
            with pytest.raises(Unauthorized) as caught:
                attempt()

            assert "pat-eu1" not in caught.value.detail


def source_by_oauth(url: str) -> HubspotSource:
    params = {
        "token_refresh_endpoint": f"{url}/oauth/v1/token",
        "client_id": "me",
        "client_secret": "secret",
        "refresh_token": "refresh",
    }
    return HubspotSource.model_validate(
        {"authentication": {"type": "oauth", "params": params}, "base_url": url}
    )


def test_an_access_token_that_expires_between_pages_is_replaced():
    portal = portal_of(250)
    given = 0

    def handler(asked: Asked) -> Answer:
        nonlocal given
        if asked.path == "/oauth/v1/token":
            given += 1
            portal.token = f"access-{given}"
            return Answer(body={"access_token": portal.token, "expires_in": 1800})
        answer = portal.answer(asked)
        if asked.query.get("after") == "100" and given == 1:
            portal.token = "expired"
            return portal.answer(asked)
        return answer

    with serving(handler) as server:
        records = [
            r for page in source_by_oauth(server.url).read(ReadRequest(stream="contacts")) for r in page
        ]

    assert len(records) == 250
    assert given == 2


def test_check_names_what_the_credentials_may_read():
    portal = portal_of(1)

    def handler(asked: Asked) -> Answer:
        return Answer(status=403) if "deals" in asked.path else portal.answer(asked)

    with serving(handler) as server:
        assert source(server.url, portal).check() == "The credentials may read contacts, companies."
