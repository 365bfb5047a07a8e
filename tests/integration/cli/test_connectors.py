"""Connectors of one's own from the command line, and looks at a source through the service."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Headrace = Callable[..., Any]
STREAM = {"name": "tickets", "sync_modes": ["full_refresh"], "primary_key": ["id"], "cursor_field": None}


def run_headrace(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, which may import what it likes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_new_connector_passes_its_test_as_it_is(headrace: Headrace, tmp_path: Path, kind: str) -> None:
    assert headrace("connectors", "new", "help_desk", "--kind", kind, "--home", tmp_path).code == 0

    outcome = run_headrace("connectors", "test", "help_desk", "--home", tmp_path, "--json")

    assert outcome.returncode == 0, outcome.stderr
    results = {found["check"]: found["outcome"] for found in json.loads(outcome.stdout)}
    assert "failed" not in results.values()
    assert list(results.values()).count("passed") >= 8


def test_a_new_connector_passes_under_pytest(headrace: Headrace, tmp_path: Path) -> None:
    headrace("connectors", "new", "help_desk", "--home", tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tmp_path / "connectors"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    "name", ["dummy", "json", "Help", "help-desk", "../help", "test_help", "9lives", "a.b", ""]
)
def test_names_that_would_hide_something_are_refused(headrace: Headrace, tmp_path: Path, name: str) -> None:
    outcome = headrace("connectors", "new", name, "--home", tmp_path)

    assert outcome.code == 2
    assert not (tmp_path / "connectors").exists()


def test_a_connector_that_exists_is_not_overwritten(headrace: Headrace, tmp_path: Path) -> None:
    (tmp_path / "connectors").mkdir()
    file = tmp_path / "connectors" / "help_desk.py"
    file.write_text("mine")

    assert headrace("connectors", "new", "help_desk", "--home", tmp_path).code == 4
    assert [path.name for path in file.parent.iterdir()] == ["help_desk.py"]
    assert file.read_text() == "mine"


def test_a_broken_promise_is_named_and_fails_the_command(headrace: Headrace, tmp_path: Path) -> None:
    headrace("connectors", "new", "help_desk", "--home", tmp_path)
    file = tmp_path / "connectors" / "help_desk.py"
    file.write_text(file.read_text().replace('"updated_after": request.cursor', '"updated_after": None'))

    outcome = run_headrace("connectors", "test", "help_desk", "--home", tmp_path)

    assert outcome.returncode == 1
    [line] = [line for line in outcome.stdout.splitlines() if "failed" in line]
    assert line.startswith("nothing new is read twice")
    assert "fails 1 of 13 checks" in outcome.stderr


def test_an_installed_connector_is_tested_with_a_config(tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text("stream: plants\nrecords: 30\n")

    outcome = run_headrace("connectors", "test", "dummy", "--file", file, "--home", tmp_path)

    assert outcome.returncode == 0, outcome.stderr
    assert "a read resumes from every cursor" in outcome.stdout


def test_a_destination_is_tested_with_a_config(tmp_path: Path) -> None:
    file = tmp_path / "destination.yaml"
    file.write_text(f"path: {tmp_path / 'it.duckdb'}\n")

    outcome = run_headrace(
        "connectors", "test", "duckdb", "--kind", "destination", "-f", file, "--home", tmp_path
    )

    assert outcome.returncode == 0, outcome.stderr


def test_a_connector_without_a_case_says_what_to_give(headrace: Headrace, tmp_path: Path) -> None:
    outcome = headrace("connectors", "test", "dummy", "--home", tmp_path)

    assert outcome.code == 3
    assert "--file" in outcome.err


def test_a_preview_is_a_table_with_types(
    headrace: Headrace, home: Path, service: Any, tmp_path: Path
) -> None:
    columns = [{"name": "id", "type": "int64"}, {"name": "tags", "type": "list<item: string>"}]
    service.answer(
        "POST /api/connectors/sources/help_desk/preview",
        {"columns": columns, "records": [{"id": 7, "tags": ["a", "b"]}]},
    )
    file = tmp_path / "config.yaml"
    file.write_text("token: sesame\n")

    outcome = headrace(
        "connectors", "preview", "help_desk", "--stream", "tickets", "-f", file, "--limit", 5, "--home", home
    )

    assert service.requests[0].body == {"config": {"token": "sesame"}, "stream": "tickets", "limit": 5}
    assert "int64" in outcome.out
    assert outcome.out.splitlines()[-1].split() == ["7", "a,", "b"]


def test_streams_are_listed(headrace: Headrace, home: Path, service: Any, tmp_path: Path) -> None:
    service.answer("POST /api/connectors/sources/help_desk/streams", [STREAM])
    file = tmp_path / "config.yaml"
    file.write_text("token: sesame\n")

    outcome = headrace("connectors", "streams", "help_desk", "-f", file, "--home", home)

    assert outcome.out.splitlines()[1].split() == ["tickets", "full_refresh", "id", "-"]
