"""Connectors are found by name, and nothing is imported before it is needed."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from headrace.connectors import registry
from headrace.connectors.dummy import DummySource

_NEVER_AT_IMPORT = ("pyarrow", "duckdb", "adbc_driver_manager", "psycopg", "urllib3", "numpy")


@pytest.fixture
def installed(monkeypatch):
    """Make a third package's connectors appear."""

    def install(name: str, value: str) -> None:
        entry = EntryPoint(name=name, value=value, group="headrace.sources")
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
        registry._references.cache_clear()

    yield install
    registry._references.cache_clear()


def test_checking_configurations_imports_no_pyarrow_and_no_driver():
    code = (
        "import sys; from headrace.connectors import registry; from headrace.pipeline import document;"
        "[registry.source(name) for name in registry.source_names()];"
        "[registry.destination(name) for name in registry.destination_names()];"
        f"print([name for name in {_NEVER_AT_IMPORT!r} if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


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
