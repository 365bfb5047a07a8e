"""References: where they may stand, what is said of them before and after they are resolved."""

import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.masking import MASK
from headrace.pipeline.document import parse_config, parse_connector
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.references import resolver as resolving
from headrace.pipeline.references.resolver import ReferenceUnresolved, Resolver
from headrace.pipeline.resolution import resolve_config
from headrace.pipeline.secrets import mask_secrets, restore_secrets, secret_values
from headrace.settings import Settings


@pytest.fixture
def settings() -> Settings:
    return Settings(home=Path("home"))


@pytest.fixture
def resolve(settings):
    """Resolve a secret."""
    return lambda text: Resolver(settings).resolve(text, is_secret=True)


def config(
    source: dict[str, Any] | None = None, destination: dict[str, Any] | None = None, **more: Any
) -> Any:
    dummy = {"name": "dummy", "stream": "plants"}
    return {"name": "x", "source": source or dummy, "destination": destination or {"name": "logger"}} | more


REST = {
    "name": "rest",
    "stream": "things",
    "base_url": "https://${env://PIPELINE_HOST}/v1",
    "path": "/things",
    "authentication": {"type": "bearer", "params": {"token": "env://PIPELINE_TOKEN"}},
}


def failure(resolve, reference: str) -> str:
    with pytest.raises(ReferenceUnresolved) as caught:
        resolve(reference)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.detail.startswith(f"{reference} cannot be resolved: ")
    return caught.value.detail


# Variables


def test_a_variable_is_resolved(resolve, monkeypatch):
    monkeypatch.setenv("PIPELINE_TOKEN", "s3cret value")

    assert resolve("env://PIPELINE_TOKEN") == "s3cret value"


def test_several_stand_inside_a_value(resolve, monkeypatch):
    monkeypatch.setenv("PIPELINE_USER", "ada")
    monkeypatch.setenv("PIPELINE_PASSWORD", "p}a$s")

    resolved = resolve("postgresql://${env://PIPELINE_USER}:${env://PIPELINE_PASSWORD}@h/${other}/$HOME")

    assert resolved == "postgresql://ada:p}a$s@h/${other}/$HOME"


@pytest.mark.parametrize("name", ["HOME", "HEADRACE_VAULT_TOKEN", "pipeline_token", "XPIPELINE_TOKEN"])
def test_a_variable_that_is_not_set_free_is_refused(resolve, monkeypatch, name):
    monkeypatch.setenv(name, "s3cret")

    detail = failure(resolve, f"env://{name}")

    assert "pipelines may read PIPELINE_*" in detail
    assert "s3cret" not in detail


def test_headrace_s_own_variables_are_never_set_free(settings, monkeypatch):
    monkeypatch.setenv("HEADRACE_VAULT_TOKEN", "s3cret")
    anything = Resolver(Settings(home=settings.home, reference_variables=("*",)))

    with pytest.raises(ReferenceUnresolved):
        anything.resolve("env://HEADRACE_VAULT_TOKEN", is_secret=True)


def test_the_variables_set_free_are_a_setting(settings, monkeypatch):
    monkeypatch.setenv("HEADRACE_REFERENCE_VARIABLES", "SHOP_*, TOKEN")
    monkeypatch.setenv("TOKEN", "one")
    monkeypatch.setenv("PIPELINE_TOKEN", "two")
    resolver = Resolver(Settings())

    assert resolver.resolve("env://TOKEN", is_secret=True) == "one"
    with pytest.raises(ReferenceUnresolved, match=r"may read SHOP_\*, TOKEN "):
        resolver.resolve("env://PIPELINE_TOKEN", is_secret=True)


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_value_is_told(resolve, monkeypatch, value):
    monkeypatch.delenv("PIPELINE_X", raising=False)
    if value is not None:
        monkeypatch.setenv("PIPELINE_X", value)

    assert "not set where the platform was started" in failure(resolve, "env://PIPELINE_X")


# Addresses


def test_a_file_s_address_that_is_no_secret_is_left_alone(settings):
    resolver = Resolver(settings)

    assert resolver.resolve("file:///data/x.csv", is_secret=False) == "file:///data/x.csv"
    with pytest.raises(ReferenceUnresolved):
        resolver.resolve("${file:///data/x.csv}", is_secret=False)


# In configurations


@pytest.mark.parametrize(
    ("source", "destination", "more"),
    [
        (REST, None, {}),
        (REST | {"base_url": "env://PIPELINE_BASE"}, None, {}),
        (REST | {"base_url": "${env://PIPELINE_BASE}/v1"}, None, {}),
        (None, {"name": "postgres", "config": {"url": "vault://secret/data/db#url"}}, {}),
        (
            None,
            {"name": "postgres", "config": {"host": "h", "database": "d", "port": "env://PIPELINE_PORT"}},
            {},
        ),
        (None, {"name": "duckdb", "config": {"path": "${env://PIPELINE_FOLDER}/x.duckdb"}}, {}),
        (
            None,
            {
                "name": "bigquery",
                "config": {
                    "project_id": "env://PIPELINE_PROJECT",
                    "dataset": "raw",
                    "authentication": {"service_account_key": "file://key.json"},
                },
            },
            {},
        ),
        (
            None,
            None,
            {"transforms": [{"label": "x", "columns": {"hash": {"columns": ["a"], "salt": "env://S"}}}]},
        ),
    ],
)
def test_a_reference_stands_for_any_value_and_is_returned_as_it_is(source, destination, more):
    raw = config(source, destination, **more)

    parse_config(raw)

    assert mask_secrets(raw) == raw


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (config({"name": "env://PIPELINE_X", "stream": "plants"}), "/source/name"),
        (config(REST | {"base_url": "nothing://PIPELINE_X"}), "/source/base_url"),
        (config(REST | {"base_url": "file://base"}), "/source/base_url"),
        (config(schema_contract="env://PIPELINE_X"), "/schema_contract"),
        (config(transforms=[{"label": "x", "python": "env://PIPELINE_X"}]), "/transforms/0/python"),
        (
            config(transforms=[{"label": "x", "columns": {"cast": {"a": "env://X"}}}]),
            "/transforms/0/columns/cast/a",
        ),
    ],
)
def test_where_a_reference_would_not_be_resolved_it_is_a_value_like_any_other(raw, pointer):
    with pytest.raises(InvalidConfig) as caught:
        parse_config(raw)

    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_a_secret_with_a_reference_inside_is_masked_and_kept():
    raw = config(None, {"name": "postgres", "config": {"url": "postgresql://me:${env://PIPELINE_PW}@h/d"}})

    masked = mask_secrets(raw)

    assert masked["destination"]["config"]["url"] == MASK
    assert restore_secrets(masked, raw).raw == raw


def test_a_run_s_config_is_resolved_and_what_came_of_it_is_masked(settings, monkeypatch):
    monkeypatch.setenv("PIPELINE_HOST", "api.example.org")
    monkeypatch.setenv("PIPELINE_TOKEN", "s3cret-token")

    resolved = resolve_config(config(REST), settings)

    assert resolved.source.base_url == "https://api.example.org/v1"  # type: ignore[attr-defined]
    assert set(secret_values(resolved)) == {"api.example.org", "s3cret-token"}
    assert "s3cret" not in repr(resolved.source)


def test_a_resolved_value_is_checked_as_one_that_was_given_and_not_told(settings, monkeypatch):
    monkeypatch.setenv("PIPELINE_BASE", "ftp://s3cret")
    raw = config(REST | {"base_url": "env://PIPELINE_BASE", "authentication": None})

    with pytest.raises(InvalidConfig) as caught:
        resolve_config(raw, settings)

    assert [fault.pointer for fault in caught.value.errors] == ["/source/base_url"]
    assert "s3cret" not in str(caught.value)


def test_each_reference_is_asked_for_once(settings, monkeypatch):
    asked = []
    provider = type(
        "Counting", (resolving.Provider,), {"value": lambda self, text: asked.append(text) or "v"}
    )
    monkeypatch.setitem(sys.modules, "counting", type("M", (), {"Counting": provider}))
    monkeypatch.setattr(resolving, "_providers", lambda: {"env": "counting:Counting"})
    resolver = Resolver(settings)

    for _ in range(3):
        resolver.resolve("${env://A}-${env://A}", is_secret=False)

    assert asked == ["env://A"]


def test_a_trial_of_a_connector_resolves_nothing():
    with pytest.raises(InvalidConfig) as caught:
        parse_connector("destination", "postgres", {"url": "env://PIPELINE_DATABASE"})

    assert [(fault.pointer, fault.code) for fault in caught.value.errors] == [
        ("/url", "config.reference_not_resolved")
    ]
