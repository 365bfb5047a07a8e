"""What people who write connectors import: `headrace.connectors`, its toolkit, and the conformance suite."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest

from headrace import connectors
from headrace.conformance.cases import DestinationCase, SourceCase
from headrace.conformance.suite import assert_conforms
from headrace.connectors import (
    Destination,
    LoadRequest,
    LoadResult,
    ReadRequest,
    Source,
    Stream,
    SyncMode,
    WriteDisposition,
    toolkit,
)
from headrace.connectors.toolkit import json_lines

ROOT = Path(__file__).parents[2]
DOORS = ("headrace.connectors", "headrace.connectors.toolkit", "headrace.conformance")
TEMPLATES = sorted((ROOT / "platform/headrace/cli/commands/connector_templates").glob("*.txt"))
PAGES = [ROOT / "docs/adding-a-connector.md", ROOT / "docs/connectors/python.md"]


class Moons(Source):
    """Moons by the year in which they were found."""

    name: ClassVar[str] = "moons"
    title: ClassVar[str] = "Moons"
    summary: ClassVar[str] = "Moons of a planet, by the year in which they were found."
    planet: str = "Jupiter"

    @classmethod
    def known_streams(cls) -> tuple[Stream, ...]:
        modes = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
        return (Stream(name="moons", sync_modes=modes, primary_key=("name",), cursor_field="found"),)

    def read(self, request: ReadRequest) -> Iterator[list[dict[str, Any]]]:
        found = [{"name": f"moon {number}", "found": 1600 + number} for number in range(30)]
        yield [moon for moon in found if request.cursor is None or moon["found"] > request.cursor]


class Lines(Destination):
    """One file of JSON lines a table."""

    name: ClassVar[str] = "lines"
    title: ClassVar[str] = "Lines"
    summary: ClassVar[str] = "JSON lines in a folder."
    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace",)
    folder: str

    def load(self, request: LoadRequest) -> LoadResult:
        file = Path(self.folder) / f"{request.table}.jsonl"
        unfinished = file.with_suffix(f".{request.load_id}")
        try:
            with unfinished.open("wb") as lines:
                for batch in request.output.batches():
                    lines.write(json_lines(batch))
            request.before_commit()
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        return LoadResult(rows=request.output.rows, location=str(file))


@contextmanager
def lines_case() -> Iterator[DestinationCase]:
    with TemporaryDirectory() as folder:

        def rows(table: str) -> list[dict[str, Any]]:
            text = (Path(folder) / f"{table}.jsonl").read_text()
            return [json.loads(line) for line in text.splitlines()]

        yield DestinationCase(connector=Lines(folder=folder), rows=rows)


def test_a_source_that_is_made_of_the_public_names_conforms() -> None:
    assert_conforms(SourceCase(connector=Moons(), stream="moons"))


def test_a_destination_that_is_made_of_the_public_names_conforms() -> None:
    with lines_case() as case:
        assert_conforms(case)


@pytest.mark.parametrize("door", [connectors, toolkit], ids=lambda door: door.__name__)
def test_each_public_name_is_there_and_explained(door: Any) -> None:
    unexplained = [
        name
        for name in door.__all__
        if inspect.isroutine(getattr(door, name)) or inspect.isclass(getattr(door, name))
        if not inspect.getdoc(getattr(door, name))
    ]

    assert unexplained == []
    assert inspect.getdoc(door)


def imported(text: str) -> set[str]:
    """Return the modules of Headrace that a program imports from."""
    tree = ast.parse(text)
    froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {module for module in (*froms, *plain) if module.partition(".")[0] == "headrace"}


def is_public(module: str) -> bool:
    public = (*DOORS, "headrace.connectors.python")  # the mark of functions in installed packages
    return module in public or module.startswith("headrace.conformance.")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_scaffold_imports_public_names_only(template: Path) -> None:
    text = template.read_text().replace("@NAME@", "example").replace("@CLASS@", "Example")

    assert [module for module in imported(text) if not is_public(module)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_docs_import_public_names_only(page: Path) -> None:
    programs = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)

    assert [module for text in programs for module in imported(text) if not is_public(module)] == []
