"""Connectors are found by name."""

from importlib.metadata import EntryPoint

import pytest

from headrace.connectors import registry
from headrace.connectors.dummy import DummySource


@pytest.fixture
def installed(monkeypatch):
    """Make a third package's connectors appear."""

    def install(name: str, value: str) -> None:
        entry = EntryPoint(name=name, value=value, group="headrace.sources")
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
        registry._references.cache_clear()

    yield install
    registry._references.cache_clear()


def test_an_installed_package_brings_a_source(installed):
    installed("mine", "headrace.connectors.dummy:DummySource")

    assert "mine" in registry.source_names()
    assert registry.source("mine") is DummySource


def test_an_installed_package_does_not_take_a_built_in_name(installed):
    installed("dummy", "somewhere:Else")

    assert registry.source("dummy") is DummySource


@pytest.mark.parametrize(
    "value",
    [
        "no_such_module:Source",
        "headrace.connectors.dummy:Nothing",
        "headrace.connectors:json_schema",
    ],
)
def test_a_broken_package_is_told_from_an_unknown_name(installed, value):
    installed("broken", value)

    with pytest.raises(registry.BrokenConnector):
        registry.source("broken")


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(registry.UnknownConnector, match="Did you mean 'logger'"):
        registry.destination("loger")
