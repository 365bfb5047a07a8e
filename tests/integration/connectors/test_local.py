"""Connectors of the local folder: found, read again when changed, and broken one by one."""

import os
import sys
from pathlib import Path

import pytest

from headrace.connectors import Destination, Source, local, registry
from headrace.connectors.dummy import DummySource
from headrace.connectors.local import BrokenFile

SOURCE = """
from typing import ClassVar
from headrace.connectors import Source

class Tickets(Source):
    name: ClassVar[str] = "tickets"
    title: ClassVar[str] = "TITLE"

    def read(self, request):
        yield [{"id": 1}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_folder", local.LocalFolder(tmp_path))
    return tmp_path


def write(file: Path, text: str) -> None:
    """Write a file whose time of change differs from the last one's."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    os.utime(file, ns=(before + 1, before + 1))


def test_a_file_brings_its_source(folder):
    write(folder / "anything.py", SOURCE)

    assert registry.source("tickets").title == "TITLE"
    assert "tickets" in registry.source_names()
    assert "tickets" not in registry.destination_names()


def test_a_folder_that_is_missing_has_no_connectors(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "_folder", local.LocalFolder(tmp_path / "none"))

    assert "dummy" in registry.source_names()
    with pytest.raises(registry.UnknownConnector):
        registry.source("tickets")


def test_a_changed_file_is_read_again_and_a_deleted_one_is_gone(folder):
    write(folder / "tickets.py", SOURCE)
    first = registry.source("tickets")

    assert registry.source("tickets") is first

    write(folder / "tickets.py", SOURCE.replace("TITLE", "OTHER"))
    assert registry.source("tickets").title == "OTHER"

    (folder / "tickets.py").unlink()
    with pytest.raises(registry.UnknownConnector):
        registry.source("tickets")


def test_a_source_is_not_found_as_a_destination(folder):
    write(folder / "tickets.py", SOURCE)

    with pytest.raises(registry.UnknownConnector):
        registry.destination("tickets")


def test_a_built_in_keeps_its_name(folder):
    write(folder / "dummy.py", SOURCE.replace('"tickets"', '"dummy"'))

    assert registry.source("dummy") is DummySource


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("class Tickets(:", "broken", "broken.py, line 1: SyntaxError"),
        (SOURCE + "\n1 / 0\n", "tickets", "broken.py, line 12: ZeroDivisionError"),
        ("import no_such_module\n" + SOURCE, "tickets", "No module named 'no_such_module'"),
        ("raise SystemExit(3)\n" + SOURCE, "tickets", "SystemExit"),
    ],
)
def test_a_broken_file_fails_its_own_connector_only(folder, caplog, text, name, reason):
    write(folder / "broken.py", text)
    write(folder / "other.py", SOURCE.replace('"tickets"', '"other"'))

    with pytest.raises(BrokenFile, match=reason.replace("(", r"\(")):
        registry.source(name)

    assert registry.source("other")
    assert "other" in registry.source_names()
    assert name not in registry.source_names()
    assert reason in caplog.text


def test_a_corrected_file_works_without_a_restart(folder):
    write(folder / "tickets.py", SOURCE + "\n1 / 0\n")
    with pytest.raises(BrokenFile):
        registry.source("tickets")

    write(folder / "tickets.py", SOURCE)

    assert issubclass(registry.source("tickets"), Source)


@pytest.mark.parametrize("name", ["_private.py", "test_tickets.py", "conftest.py", "not-a-module.py"])
def test_other_files_are_not_connectors(folder, name):
    write(folder / name, SOURCE)

    assert "tickets" not in registry.source_names()


def test_a_file_without_connectors_is_not_imported_by_a_look_at_the_catalogue(folder):
    write(
        folder / "functions.py", "import sys\nsys.imported_functions = True\ndef tickets():\n    yield {}\n"
    )

    registry.source_names()

    assert not hasattr(sys, "imported_functions")
    assert local.folder().module("functions").tickets
    del sys.imported_functions


def test_no_byte_code_is_left_in_the_folder(folder):
    write(folder / "tickets.py", SOURCE)

    registry.source("tickets")

    assert [path.name for path in folder.iterdir()] == ["tickets.py"]


def test_one_file_may_bring_a_source_and_a_destination_of_one_name(folder):
    both = SOURCE + (
        "\nfrom headrace.connectors import Destination, LoadResult\n"
        "class Sink(Destination):\n"
        "    name: ClassVar[str] = 'tickets'\n"
        "    title: ClassVar[str] = 'Sink'\n"
        "    def load(self, request):\n"
        "        return LoadResult(rows=0, location='')\n"
    )
    write(folder / "tickets.py", both)

    assert issubclass(registry.source("tickets"), Source)
    assert issubclass(registry.destination("tickets"), Destination)
