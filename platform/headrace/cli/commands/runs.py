"""`headrace runs`: list, show, follow and cancel runs, and download their output."""

import os
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.commands.pipelines import pipeline_id
from headrace.cli.connection import connect
from headrace.cli.console import ERR, OUT, print_facts, print_json, print_table, size_text
from headrace.cli.options import AsJson, Follow, Home, Limit, TokenFile, Url
from headrace.errors import Conflict
from headrace.records import RunStatus

app = typer.Typer(help="Runs: executions of pipelines.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id.")]

_LOG_LINE = "message"  # the name of server-sent events with log lines
_COLUMNS = {
    "id": "ID",
    "status": "STATUS",
    "triggered_by": "BY",
    "created_at": "CREATED",
    "finished_at": "FINISHED",
    "error": "ERROR",
}
_ATTEMPT_COLUMNS = {
    "attempt": "ATTEMPT",
    "started_at": "STARTED",
    "finished_at": "FINISHED",
    "error_code": "CODE",
    "error": "ERROR",
}
_WARNING_COLUMNS = {"code": "CODE", "count": "COUNT", "detail": "WARNING"}
_CHANGE_COLUMNS = {"column": "COLUMN", "before": "BEFORE", "after": "AFTER"}
_COLUMNS_OF_ANY = {"id": "ID", "pipeline_name": "PIPELINE", "rows": "ROWS", **_COLUMNS}


class Format(StrEnum):
    """File formats of a download."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class FileExists(Conflict):
    """The file exists, and --force was not given."""

    code = "cli.file_exists"
    title = "File exists"
    hint = "Choose another file with --output, or overwrite it with --force."


@app.command("list")
def list_(
    pipeline: Annotated[
        str | None, typer.Option(metavar="PIPELINE", help="Only runs of this pipeline, by id or name.")
    ] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only runs with this status.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List runs, newest first."""
    client = connect(home, url, token_file)
    path = f"/api/pipelines/{pipeline_id(client, pipeline)}/runs" if pipeline else "/api/runs"
    runs = client.pages(path, limit=limit, status=status and status.value)
    if as_json:
        print_json(runs)
    else:
        print_table(runs, _COLUMNS if pipeline else _COLUMNS_OF_ANY)


@app.command()
def show(
    run: RunId, as_json: AsJson = False, home: Home = None, url: Url = None, token_file: TokenFile = None
) -> None:
    """Show a run, its receipt, its warnings and its earlier attempts."""
    shown = connect(home, url, token_file).get(f"/api/pipelines/runs/{run}")
    if as_json:
        print_json(shown)
        return
    earlier, receipt = shown.pop("attempts", []), shown.pop("receipt", None)
    warnings = shown.pop("warnings", [])
    print_facts(shown)
    if receipt:
        _print_receipt(receipt)
    if warnings:
        OUT.print("\nWarnings")
        print_table(warnings, _WARNING_COLUMNS)
    if earlier:
        OUT.print("\nEarlier attempts")
        print_table(earlier, _ATTEMPT_COLUMNS)


@app.command()
def logs(
    run: RunId,
    follow: Follow = False,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Print a run's log. With --follow, print new lines until the run has ended."""
    client = connect(home, url, token_file)
    path = f"/api/pipelines/runs/{run}/logs"
    if follow:
        for event in client.events(path):
            if event.name == _LOG_LINE:
                print_json({"line": event.data}) if as_json else _print_line(event.data)
        return
    answer = client.get(path)
    if as_json:
        print_json(answer)
    elif answer["logs"]:
        _print_line(answer["logs"])


@app.command()
def cancel(
    run: RunId, as_json: AsJson = False, home: Home = None, url: Url = None, token_file: TokenFile = None
) -> None:
    """Cancel a run that has not ended."""
    answer = connect(home, url, token_file).post(f"/api/pipelines/runs/{run}/cancel")
    if as_json:
        print_json(answer)
    else:
        OUT.print(f"Run {run} {answer['status']}")


@app.command()
def download(
    run: RunId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default="RUN.FORMAT"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="The file format.")] = Format.PARQUET,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Download the output of a run. An incomplete download leaves no file."""
    target = (output or Path(f"{run}.{format_}")).expanduser()
    if target.exists() and not force:
        raise FileExists(f"{target} already exists.")
    client = connect(home, url, token_file)
    asked = None if format_ is Format.PARQUET else format_.value
    size = _write_whole(target, client.stream(f"/api/pipelines/runs/{run}/download", format=asked))
    ERR.print(f"{target}: {size_text(size)}", markup=False)


def _print_receipt(receipt: dict[str, Any]) -> None:
    """Print the figures that say anything, and each column that has changed."""
    schemas = ("schema_before", "schema_after", "warnings")
    changes = [*receipt.pop("schema_changes", []), *receipt.pop("table_changes", [])]
    OUT.print("\nReceipt")
    print_facts({name: value for name, value in receipt.items() if value is not None and name not in schemas})
    if changes:
        OUT.print("\nChanged columns")
        print_table(changes, _CHANGE_COLUMNS)


def _print_line(text: str) -> None:
    OUT.print(text, markup=False)


def _write_whole(target: Path, chunks: Iterator[bytes]) -> int:
    """Write the file atomically; return the number of bytes."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            size = file.tell()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size
