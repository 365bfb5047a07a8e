"""`headrace runs`: list, show, follow, cancel runs and download what they brought."""

import os
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connection import connect
from headrace.cli.console import ERR, OUT, print_facts, print_json, print_table, size_text
from headrace.cli.options import AsJson, Follow, Home, Limit, TokenFile, Url
from headrace.cli.pipelines import pipeline_id
from headrace.errors import Conflict
from headrace.records import RunStatus

app = typer.Typer(help="Runs: one execution of a pipeline each.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id.")]

_LOG_LINE = "message"  # of server-sent events; others tell of the log itself
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
_COLUMNS_OF_ANY = {"id": "ID", "pipeline_name": "PIPELINE", "rows": "ROWS", **_COLUMNS}


class Format(StrEnum):
    """What a download may be written as."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


class FileExists(Conflict):
    """Nothing is overwritten unasked."""

    code = "cli.file_exists"
    title = "File exists"
    hint = "Name another with --output, or add --force."


@app.command("list")
def list_(
    pipeline: Annotated[
        str | None, typer.Option(metavar="PIPELINE", help="Only those of a pipeline: its id or name.")
    ] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only those in this state.")] = None,
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
    """Show a run, with its earlier attempts."""
    shown = connect(home, url, token_file).get(f"/api/pipelines/runs/{run}")
    if as_json:
        print_json(shown)
        return
    earlier = shown.pop("attempts", [])
    print_facts(shown)
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
    """Print a run's log; with --follow as it grows, until the run has ended."""
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
        typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="RUN.FORMAT"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to write it as.")] = Format.PARQUET,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Download what a run brought, whole or not at all."""
    target = (output or Path(f"{run}.{format_}")).expanduser()
    if target.exists() and not force:
        raise FileExists(f"{target} exists.")
    client = connect(home, url, token_file)
    asked = None if format_ is Format.PARQUET else format_.value
    size = _write_whole(target, client.stream(f"/api/pipelines/runs/{run}/download", format=asked))
    ERR.print(f"{target}: {size_text(size)}", markup=False)


def _print_line(text: str) -> None:
    OUT.print(text, markup=False)


def _write_whole(target: Path, chunks: Iterator[bytes]) -> int:
    """Write the chunks beside the target and move them there at the end; return how many bytes."""
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
