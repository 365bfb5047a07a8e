"""`headrace connectors new` and `test`: your own connectors, in the connectors folder."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.commands.pipelines import read_document
from headrace.cli.console import ERR, OUT, print_json, print_table
from headrace.cli.options import AsJson, Home, Kind
from headrace.errors import Conflict, Invalid, NotFound
from headrace.settings import load_settings

if TYPE_CHECKING:
    from headrace.conformance.cases import Case

_FINDING_COLUMNS = {"check": "CHECK", "outcome": "RESULT", "detail": "WHY"}
_CASE_KEYS = ("name", "stream", "sync_mode", "cursor_field", "max_iterations")


class InvalidConnectorName(Invalid):
    """A connector of your own cannot have this name."""

    code = "cli.connector_name"
    title = "Invalid connector name"
    hint = "Use lower-case letters, digits and underscores. Names of connectors and Python modules are taken."


class ConnectorExists(Conflict):
    """The connectors folder already has a file of that name."""

    code = "cli.connector_exists"
    title = "Connector exists"
    hint = "Nothing was written. Choose another name, or delete the file."


class NothingToTest(NotFound):
    """The test has no config for the connector."""

    code = "cli.nothing_to_test"
    title = "Nothing to test"
    hint = "Give a config with --file, or write a `case()` in test_NAME.py beside the connector."


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connector's name, such as help_desk.")],
    kind: Annotated[
        Kind, typer.Option("--kind", help="Whether it is a source or a destination.")
    ] = Kind.SOURCE,
    home: Home = None,
) -> None:
    """Write a working connector and its test to the connectors folder."""
    from headrace.connectors import registry

    is_name = name.isascii() and name.isidentifier() and name.islower() and not name.startswith("test")
    if not is_name or registry.is_installed(kind.value, name) or find_spec(name) is not None:
        raise InvalidConnectorName(f"{name!r} cannot be a connector's name.")
    folder = load_settings(home).connectors
    paths = {folder / f"{name}.py": f"{kind}.py.txt", folder / f"test_{name}.py": f"test_{kind}.py.txt"}
    for path in paths:
        if path.exists():
            raise ConnectorExists(f"{path} already exists.")
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in paths.items():
        path.write_text(_filled(template, name, kind))
        OUT.print(str(path), markup=False)
    ERR.print(f"Test it with `headrace connectors test {name}`. Pipelines can use it now.", markup=False)


def hold_to_promises(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connector's name.")],
    kind: Annotated[
        Kind, typer.Option("--kind", help="Whether it is a source or a destination.")
    ] = Kind.SOURCE,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            allow_dash=True,
            help="The connector's config as YAML or JSON, for a source with `stream` and `cursor_field`; "
            "- reads standard input.",
            show_default="case() of test_NAME.py in the connectors folder",
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Test a connector against the contract of all connectors. Exits with 1 if it breaks the contract.

    The test reads the source, or creates and replaces tables named conformance_... in the destination.
    """
    from headrace.conformance.suite import examine
    from headrace.connectors import local

    folder = load_settings(home).connectors
    local.use(folder)
    with _case(name, kind, file, folder) as case:
        findings = [vars(found) for found in examine(case)]
    if as_json:
        print_json(findings)
    else:
        print_table(findings, _FINDING_COLUMNS)
    failed = sum(found["outcome"] == "failed" for found in findings)
    if failed:
        ERR.print(f"{name} fails {failed} of {len(findings)} checks.", style="red", markup=False)
        raise typer.Exit(1)


def _filled(template: str, name: str, kind: Kind) -> str:
    text = files("headrace.cli.commands").joinpath("connector_templates", template).read_text()
    words = name.split("_")
    class_name = "".join(map(str.capitalize, words)) + kind.value.capitalize()
    values = {"@NAME@": name, "@CLASS@": class_name, "@TITLE@": " ".join(words).capitalize()}
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


@contextmanager
def _case(name: str, kind: Kind, file: Path | None, folder: Path) -> "Iterator[Case]":
    """Yield the case that the file configures, or else the one of the connector's own test."""
    if file is not None:
        yield _configured(name, kind, dict(read_document(file)))
        return
    if not (folder / f"test_{name}.py").exists():
        raise NothingToTest(f"There is no test_{name}.py in {folder}.")
    # The test imports its connector by name, as it does under pytest.
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(f"test_{name}")
    finally:
        sys.path.remove(str(folder))
    if not hasattr(module, "case"):
        raise NothingToTest(f"test_{name}.py has no case().")
    with module.case() as case:
        yield case


def _configured(name: str, kind: Kind, document: dict[str, Any]) -> "Case":
    from headrace.conformance.cases import DestinationCase, SourceCase
    from headrace.connectors import Destination, Source
    from headrace.pipeline.document import parse_connector

    facts = {key: document.pop(key, None) for key in _CASE_KEYS} if kind is Kind.SOURCE else {}
    connector = parse_connector(kind.value, name, document)
    if isinstance(connector, Destination):
        return DestinationCase(connector=connector)
    assert isinstance(connector, Source), "there are two kinds"
    known = connector.known_streams()
    stream = facts["stream"] or (known[0].name if known else "")
    return SourceCase(connector=connector, stream=stream, cursor_field=facts["cursor_field"])
