"""What is accepted as a pipeline's configuration, and what is said of what is not."""

import copy
import json
from typing import Any

import pytest

from headrace.connectors import SyncMode
from headrace.masking import MASK
from headrace.pipeline.document import parse_config
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.secrets import mask_secrets, restore_secrets, secret_values

PAGE_EXAMPLE = json.loads("""
{ "name": "hubspot-contacts",
  "source": { "name": "hubspot", "stream": "contacts",
              "authentication": { "type": "api_key", "params": { "token": "pat-xxx" } } },
  "destination": { "name": "bigquery", "config": { "project_id": "my-project", "dataset": "raw_data" } } }
""")
OAUTH = {
    "type": "oauth",
    "params": {
        "token_refresh_endpoint": "https://api.hubapi.com/oauth/v1/token",
        "client_id": "id",
        "client_secret": "the-client-secret",
        "refresh_token": "the-refresh-token",
        "refresh_request_body": {"extra": "the-extra-secret"},
    },
}


def example(**source: Any) -> dict[str, Any]:
    """The page's example with changes to its source."""
    changed = copy.deepcopy(PAGE_EXAMPLE)
    changed["source"].update(source)
    return changed


def dummy(**source: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "source": {"name": "dummy", "stream": "plants", **source},
        "destination": {"name": "logger"},
    }


def faults(raw: dict[str, Any]) -> dict[str, str]:
    """The faults found, code by pointer."""
    with pytest.raises(InvalidConfig) as caught:
        parse_config(raw)
    return {error.pointer: error.code for error in caught.value.errors}


def test_the_page_s_example_is_accepted_as_printed():
    config = parse_config(PAGE_EXAMPLE)

    assert (config.name, config.source_name, config.stream) == ("hubspot-contacts", "hubspot", "contacts")
    assert config.sync_mode is SyncMode.FULL_REFRESH
    assert config.destination.dataset_id == "raw_data"  # type: ignore[attr-defined]
    assert secret_values(config) == ("pat-xxx",)


def test_what_other_tools_read_is_accepted_and_reported_as_unused():
    raw = PAGE_EXAMPLE | {
        "engine": {"runner": {"type": "thread"}},
        "alerting": None,
        "monitoring": {"type": "x"},
    }

    assert parse_config(raw).unused == ("engine", "monitoring")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (example(name="hubspt"), {"/source/name": "connector.unknown"}),
        (example(stream="kontacts"), {"/source/stream": "stream.unknown"}),
        (example(foo=1), {"/source/foo": "config.extra_forbidden"}),
        (example(**{"a/b~c": 1}), {"/source/a~1b~0c": "config.extra_forbidden"}),
        (example(sync_mode="stream"), {"/source/sync_mode": "config.stream_mode_unsupported"}),
        (example(sync_mode="sometimes"), {"/source/sync_mode": "config.enum"}),
        (example(max_iterations=0), {"/source/max_iterations": "config.greater_than_equal"}),
        (
            example(authentication={"type": "magic", "params": {}}),
            {"/source/authentication/type": "config.union_tag_invalid"},
        ),
        (
            example(authentication={"type": "api_key", "params": {"tokn": "x"}}),
            {
                "/source/authentication/params/token": "config.missing",
                "/source/authentication/params/tokn": "config.extra_forbidden",
            },
        ),
        (
            example(sync_mode="incremental", cursor_field="createdAt"),
            {"/source/cursor_field": "cursor_field.fixed"},
        ),
        (dummy(sync_mode="incremental"), {"/source/sync_mode": "sync_mode.unsupported"}),
        (dummy(authentication={"type": "basic", "params": {"username": "u"}}),
         {"/source/authentication/params/password": "config.missing"}),
        (PAGE_EXAMPLE | {"destination": {"name": "nowhere"}}, {"/destination/name": "connector.unknown"}),
        (PAGE_EXAMPLE | {"destination": 3}, {"/destination": "config.dict_type"}),
        (PAGE_EXAMPLE | {"destination": {"name": "bigquery", "config": {"project_id": "p"}}},
         {"/destination/config/dataset_id": "config.missing"}),
        (PAGE_EXAMPLE | {"colour": "red"}, {"/colour": "config.extra_forbidden"}),
        (PAGE_EXAMPLE | {"transforms": [{"label": "x", "python": "data ="}]},
         {"/transforms/0/python": "config.python_syntax"}),
        (PAGE_EXAMPLE | {"schema_contract": "frozen"}, {"/schema_contract": "config.literal_error"}),
        (PAGE_EXAMPLE | {"schema_contract": "freeze", "destination": {"name": "logger"}},
         {"/schema_contract": "schema_contract.unsupported"}),
        ({}, {"/name": "config.missing", "/source": "config.missing", "/destination": "config.missing"}),
    ],
)  # fmt: skip
def test_each_fault_has_its_own_pointer(raw, expected):
    assert faults(raw) == expected


def test_no_fault_hides_another():
    raw = example(stream="kontacts", foo=1) | {"destination": {"name": "nowhere"}}

    assert faults(raw).keys() == {"/source/foo", "/destination/name"}


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(InvalidConfig, match="Did you mean 'hubspot'"):
        parse_config(example(name="hubspt"))


@pytest.mark.parametrize("where", ["type", "token", "unknown key"])
def test_a_fault_never_quotes_a_value(where):
    secret = "secret-in-the-wrong-place"
    authentication: dict[str, Any] = {"type": "api_key", "params": {"token": "t"}}
    if where == "type":
        authentication["type"] = secret
    elif where == "token":
        authentication["params"]["token"] = [secret]
    else:
        authentication["params"]["foo"] = secret

    with pytest.raises(InvalidConfig) as caught:
        parse_config(example(authentication=authentication))

    assert secret not in f"{caught.value} {caught.value.errors}"


def test_secrets_are_masked_wherever_they_are_nested():
    masked = mask_secrets(example(authentication=OAUTH))

    params = masked["source"]["authentication"]["params"]
    assert params["client_id"] == "id"
    assert params["client_secret"] == params["refresh_token"] == MASK
    assert params["refresh_request_body"] == {"extra": MASK}
    assert masked["destination"] == PAGE_EXAMPLE["destination"]


def test_what_cannot_be_understood_is_masked_whole():
    raw = PAGE_EXAMPLE | {
        "source": {"name": "gone", "stream": "s", "key": "k", "more": ["m", {"n": "o"}]},
        "alerting": {"webhook": "https://hooks/secret"},
    }

    masked = mask_secrets(raw)

    assert masked["source"] == {"name": "gone", "stream": "s", "key": MASK, "more": [MASK, {"n": MASK}]}
    assert masked["alerting"] == {"webhook": MASK}


@pytest.mark.parametrize("stored", [PAGE_EXAMPLE, example(authentication=OAUTH)])
def test_a_masked_configuration_is_restored_to_what_was_stored(stored):
    assert restore_secrets(mask_secrets(stored), stored).raw == stored


def test_a_secret_is_kept_when_something_else_changes():
    submitted = mask_secrets(PAGE_EXAMPLE)
    submitted["source"]["stream"] = "deals"

    assert restore_secrets(submitted, PAGE_EXAMPLE).raw == example(stream="deals")


def test_a_secret_is_not_sent_to_another_address():
    stored = example(authentication=OAUTH)
    submitted = mask_secrets(stored)
    submitted["source"]["authentication"]["params"]["token_refresh_endpoint"] = "https://evil.example/"

    with pytest.raises(InvalidConfig) as caught:
        restore_secrets(submitted, stored)

    assert {error.code for error in caught.value.errors} == {"config.address_changed"}
    assert "/source/authentication/params/client_secret" in {error.pointer for error in caught.value.errors}


def test_a_secret_is_not_given_to_another_connector():
    stored = example()
    submitted = mask_secrets(stored)
    submitted["source"] |= {"name": "dummy", "stream": "plants"}

    with pytest.raises(InvalidConfig) as caught:
        restore_secrets(submitted, stored)

    assert [error.code for error in caught.value.errors] == ["config.address_changed"]


def test_a_mask_without_a_stored_secret_is_refused():
    submitted = dummy(authentication={"type": "api_key", "params": {"token": MASK}})

    with pytest.raises(InvalidConfig) as caught:
        restore_secrets(submitted, dummy())

    assert [(error.pointer, error.code) for error in caught.value.errors] == [
        ("/source/authentication/params/token", "config.nothing_stored")
    ]
