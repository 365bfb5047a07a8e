"""A relative path of a configuration begins at one place, wherever a process was started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.connectors.duckdb.connector import DuckDBDestination
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.kit import local_paths
from headrace.connectors.sqlite.connector import SQLiteDestination


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Path]:
    local_paths.start_relative_paths_at(tmp_path)
    yield tmp_path
    local_paths.start_relative_paths_at(None)


def test_relative_paths_begin_where_the_process_says(base: Path) -> None:
    assert local_paths.local_path("a/b.csv") == base / "a/b.csv"
    assert DuckDBDestination(path="a.duckdb").file() == base / "a.duckdb"
    assert SQLiteDestination(path="a.sqlite").file() == base / "a.sqlite"
    assert FileDestination().target("items")["folder"] == str(base)


def test_absolute_paths_and_the_users_home_are_what_they_are(base: Path) -> None:
    assert local_paths.local_path("/data/a.csv") == Path("/data/a.csv")
    assert local_paths.local_path("~/a.csv") == Path.home() / "a.csv"


def test_without_a_base_they_begin_where_the_process_was_started() -> None:
    assert local_paths.local_path("a.csv") == Path.cwd() / "a.csv"
