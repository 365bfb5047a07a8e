"""What a REST source's configuration may say, and which of it is secret."""

from typing import Any

import pytest

from headrace.connectors import SyncMode
from headrace.connectors.rest.config import looks_secret
from headrace.connectors.rest.connector import RestSource
from headrace.pipeline.document import parse_config
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.secrets import mask_secrets, restore_secrets

MASK = "**********"


def config(**source: Any) -> dict[str, Any]:
    base = {"name": "rest", "stream": "contacts", "base_url": "https://api.example.com/v1"}
    return {
        "name": "x",
        "source": base | source,
        "destination": {"name": "postgres", "config": {"url": "postgresql://u:p@h/d"}},
    }


def faults(**source: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(config(**source))
    return [(error.pointer, error.code) for error in caught.value.errors]


def test_the_smallest_configuration_is_valid():
    paginator = {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"}

    parsed = parse_config(config(path="/contacts", data_selector="results", paginator=paginator))

    assert parsed.source_name == "rest"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "api.example.com",
        "http://user:p@a",
        "http://a?key=1",
        "http://a#b",
        "http://a b",
        "http://a\\@b",
    ],
)
def test_a_base_url_says_where_the_api_is_and_nothing_else(url: str):
    assert faults(base_url=url) == [("/source/base_url", "config.base_url")]


@pytest.mark.parametrize("path", ["https://evil.example/x", "//evil.example", "/x?key=1", "/x#y", "a b"])
def test_a_path_stays_below_the_base_url(path: str):
    assert faults(path=path) == [("/source/path", "config.path")]


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", "[]"])
def test_a_senseless_path_into_the_answer_is_refused(path: str):
    assert faults(data_selector=path) == [("/source/data_selector", "config.path")]


def test_an_unknown_paginator_is_refused():
    assert faults(paginator="guesswork") == [("/source/paginator/type", "config.union_tag_invalid")]


def test_a_stream_that_is_none_of_the_resources_is_refused_before_any_run():
    assert faults(resources=["users", "posts"]) == [("/source/stream", "stream.unknown")]


def test_an_incremental_stream_needs_a_field_to_sync_by():
    assert faults(sync_mode="incremental", path="x") == [("/source/cursor_field", "cursor_field.missing")]

    parsed = parse_config(config(sync_mode="incremental", incremental={"cursor_path": "updated_at"}))

    assert parsed.sync_mode is SyncMode.INCREMENTAL


@pytest.mark.parametrize(
    "resources",
    [
        [{"name": "contacts", "endpoint": "users/{resources.users.id}"}],  # no such parent
        [{"name": "contacts", "endpoint": "x/{resources.contacts.id}"}],  # its own parent
        [
            {"name": "contacts", "endpoint": "x/{resources.b.id}"},
            {"name": "b", "endpoint": "x/{resources.contacts.id}"},
        ],
        ["a", "b", {"name": "contacts", "endpoint": "x/{resources.a.id}/{resources.b.id}"}],
    ],
)
def test_parents_that_lead_nowhere_are_refused(resources: list[Any]):
    assert faults(resources=resources) == [("/source", "config.parents")]


def test_two_resources_of_one_name_are_refused():
    assert faults(resources=["contacts", "contacts"]) == [("/source", "config.resources")]


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *(("api_key", True), ("apiKey", True), ("access_token", True), ("X-Auth", True), ("sig", True)),
        *(("keyword", False), ("monkey", False), ("limit", False), ("author", False), ("since", False)),
    ],
)
def test_a_secret_is_told_by_the_words_of_its_name(name: str, is_secret: bool):
    assert looks_secret(name) is is_secret


def test_secrets_are_masked_wherever_they_lie():
    raw = config(
        params={"api_key": "s1", "limit": 100},
        headers={"X-Custom": "s2", "Accept": "text/x", "Notion-Version": "2022-06-28"},
        json={"auth": {"password": "s3", "user": "me"}},
        authentication={"type": "bearer", "params": {"token": "s4"}},
        resources=["plain", {"name": "contacts", "endpoint": {"path": "x", "params": {"token": "s5"}}}],
    )

    masked = mask_secrets(raw)["source"]

    assert masked["params"] == {"api_key": MASK, "limit": 100}
    assert masked["headers"] == {"X-Custom": MASK, "Accept": "text/x", "Notion-Version": "2022-06-28"}
    assert masked["json"] == {"auth": {"password": MASK, "user": "me"}}
    assert masked["authentication"]["params"]["token"] == MASK
    assert masked["resources"][1]["endpoint"]["params"] == {"token": MASK}
    assert restore_secrets(mask_secrets(raw), raw).raw == raw


@pytest.mark.parametrize(
    "change", [{"base_url": "https://evil.example"}, {"allowed_hosts": ["evil.example"]}]
)
def test_a_masked_secret_is_not_sent_to_another_host(change: dict[str, Any]):
    stored = config(params={"api_key": "s1"})
    submitted = mask_secrets(stored)

    with pytest.raises(InvalidConfig) as caught:
        restore_secrets(submitted | {"source": submitted["source"] | change}, stored)

    assert "config.address_changed" in [error.code for error in caught.value.errors]


def test_what_is_said_beside_the_resources_holds_for_each_that_does_not_say_otherwise():
    source = RestSource.model_validate(
        {
            "base_url": "https://a",
            "data_selector": "items",
            "params": {"limit": 10, "sort": "id"},
            "resources": [
                "a",
                {"name": "b", "endpoint": {"path": "x", "data_selector": "rows", "params": {"limit": 5}}},
            ],
        }
    )

    a, b = (source.resource(name).endpoint for name in "ab")

    assert (a.path, a.data_selector, a.params) == ("a", "items", {"limit": 10, "sort": "id"})
    assert (b.path, b.data_selector, b.params) == ("x", "rows", {"limit": 5, "sort": "id"})
