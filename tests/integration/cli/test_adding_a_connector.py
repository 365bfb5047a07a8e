"""docs/adding-a-connector.md, followed to the letter in a fresh home."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from headrace.connectors import local
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import parse_config
from headrace.service.connectors import Connectors
from headrace.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "adding-a-connector.md").read_text()
pytestmark = pytest.mark.slow


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the page's file was saved and its commands were run."""
    folder = tmp_path_factory.mktemp("fresh")
    connectors = folder / ".headrace" / "connectors"
    connectors.mkdir(parents=True)
    [function] = blocks("python")
    (connectors / "moons.py").write_text(function)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
    for command in [*blocks("bash"), *re.findall(r"`(headrace connectors (?:new|test) lake [^`]*)`", PAGE)]:
        done = subprocess.run(
            ["/bin/sh", "-ec", command], cwd=folder, env=kept, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}{done.stdout}{done.stderr}"
    return folder / ".headrace"


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home's connectors folder, in use."""
    monkeypatch.setattr(local, "_folder", local.LocalFolder(home / "connectors"))
    return home / "connectors"


def test_the_commands_write_what_the_page_says(home: Path) -> None:
    written = {path.name for path in (home / "connectors").iterdir() if path.suffix == ".py"}

    assert written == {"moons.py", "help_desk.py", "test_help_desk.py", "lake.py", "test_lake.py"}


def test_the_function_s_pipeline_moves_what_is_new(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = parse_config(json.loads(blocks("json")[0]))
    rows = []

    for run in ("first", "second"):
        job = EngineJob(
            output_path=tmp_path / run, pipeline_id="p", run_id=run, log=logging.getLogger("test")
        )
        rows.append(run_pipeline(config, job).rows)

    assert rows == [3, 0]
    with duckdb.connect("moons.duckdb") as connection:
        assert connection.execute("SELECT name FROM moons ORDER BY found").fetchall() == [
            ("Io",), ("Amalthea",), ("Himalia",)
        ]  # fmt: skip


def test_the_preview_shows_the_new_source_s_records(folder: Path, home: Path) -> None:
    body = json.loads(blocks("json")[1])
    tested = ModuleType("test_help_desk")
    sys.path.insert(0, str(folder))
    try:
        exec((folder / "test_help_desk.py").read_text(), tested.__dict__)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("help_desk", None)

    with tested.case() as case:
        config = body["config"] | {"base_url": case.connector.base_url}
        connectors = Connectors(Settings(home=home))
        preview = connectors.preview("help_desk", config, stream=body["stream"], limit=body["limit"])
        streams = connectors.streams("help_desk", config)

    assert [record["id"] for record in preview.records] == [1, 2, 3]
    assert [stream.name for stream in streams] == ["tickets"]


def test_the_new_source_is_one_as_any_other(folder: Path) -> None:
    assert parse_config(json.loads(blocks("json")[2])).source_name == "help_desk"
