"""`headrace pipelines`: list, show, create, run and delete pipelines."""

import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
import yaml

from headrace.cli.client import Client
from headrace.cli.connection import connect
from headrace.cli.console import ERR, OUT, print_facts, print_json, print_table
from headrace.cli.following import ending, follow
from headrace.cli.options import AsJson, Follow, Home, Limit, TokenFile, Url
from headrace.errors import Conflict, Invalid, NotFound
from headrace.records import RunStatus

app = typer.Typer(help="Pipelines: which data is moved, from where to where, and when.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="PIPELINE", help="A pipeline's id or name.")]

_COLUMNS = {
    "id": "ID",
    "name": "NAME",
    "schedule": "SCHEDULE",
    "enabled": "ENABLED",
    "domain_name": "DOMAIN",
    "last_run_status": "LAST RUN",
    "last_run_at": "AT",
}

_SLOT_COLUMNS = {
    "scheduled_at": "SLOT",
    "outcome": "OUTCOME",
    "run_status": "RUN",
    "run_id": "RUN ID",
    "reason": "REASON",
}


class NoSuchPipeline(NotFound):
    """No pipeline has that name."""

    code = "cli.no_such_pipeline"
    title = "No such pipeline"
    hint = "`headrace pipelines list` lists all pipelines."


class AmbiguousName(Conflict):
    """Several pipelines have this name."""

    code = "cli.ambiguous_name"
    title = "Name not unique"
    hint = "Use the pipeline's id."


class UnreadableFile(Invalid):
    """The file is missing, or does not describe a pipeline."""

    code = "cli.unreadable_file"
    title = "Cannot read the file"
    hint = "Write the body of POST /api/pipelines, or only a pipeline's config, as YAML or JSON."


@app.command("list")
def list_(
    domain: Annotated[str | None, typer.Option(metavar="ID", help="Only pipelines of this domain.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only pipelines with this tag.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only pipelines whose name contains this text.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the pipelines, newest first."""
    client = connect(home, url, token_file)
    pipelines = client.pages("/api/pipelines", limit=limit, domain_id=domain, tag=tag, q=name)
    if as_json:
        print_json(pipelines)
    else:
        print_table(pipelines, _COLUMNS)


@app.command()
def show(
    pipeline: Which,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show a pipeline with its config. Secrets are shown if the token may read them."""
    client = connect(home, url, token_file)
    shown = client.get(f"/api/pipelines/{pipeline_id(client, pipeline)}")
    if as_json:
        print_json(shown)
        return
    config = shown.pop("config")
    print_facts(shown)
    OUT.print("\nconfig", style="dim")
    OUT.print(yaml.safe_dump(config, sort_keys=False, allow_unicode=True).rstrip(), markup=False)


@app.command()
def create(
    file: Annotated[
        Path,
        typer.Option(
            "--file", "-f", metavar="FILE", allow_dash=True, help="YAML or JSON; - reads standard input."
        ),
    ],
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Create a pipeline from a file with the body of POST /api/pipelines, or with only a config."""
    body = _read_pipeline(file)
    created = connect(home, url, token_file).post("/api/pipelines", body)
    if as_json:
        print_json(created)
    else:
        OUT.print(f"Created {created['name']} as {created['id']}", markup=False)


@app.command()
def run(
    pipeline: Which,
    follow_run: Follow = False,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Start a run. With --follow, show its rows, bytes, rate and time until it has ended.

    Exits with 1 if a followed run does not succeed.
    """
    client = connect(home, url, token_file)
    started = client.post(f"/api/pipelines/{pipeline_id(client, pipeline)}/run")
    ended = _followed(client, started["id"]) if follow_run else started
    if as_json:
        print_json(ended)
    else:
        OUT.print(ending(ended), markup=False)
    if follow_run and ended["status"] != RunStatus.SUCCESS:
        raise typer.Exit(1)


@app.command()
def schedule(
    pipeline: Which,
    limit: Limit = 20,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show the next slots of a pipeline's schedule, and what happened to past slots."""
    client = connect(home, url, token_file)
    shown = client.get(f"/api/pipelines/{pipeline_id(client, pipeline)}/schedule", limit=limit)
    if as_json:
        print_json(shown)
        return
    coming, past = shown.pop("next"), shown.pop("past")
    print_facts(shown)
    OUT.print("\nnext", style="dim")
    OUT.print("\n".join(coming) or "none", markup=False)
    OUT.print("\npast", style="dim")
    print_table(past, _SLOT_COLUMNS)


@app.command()
def delete(
    pipeline: Which,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Delete a pipeline with all its runs, logs and outputs."""
    client = connect(home, url, token_file)
    identifier = pipeline_id(client, pipeline)
    if not yes:
        typer.confirm(f"Delete {pipeline} with its runs, logs and outputs?", abort=True, err=True)
    client.delete(f"/api/pipelines/{identifier}")
    OUT.print(f"Deleted {identifier}")


def pipeline_id(client: Client, text: str) -> str:
    """Return a pipeline's id, given its id or full name. Raises NoSuchPipeline and AmbiguousName."""
    try:
        return str(UUID(text))
    except ValueError:
        pass
    found = [item for item in client.pages("/api/pipelines", limit=1000, q=text) if item["name"] == text]
    if not found:
        raise NoSuchPipeline(f"No pipeline is named {text!r}.")
    if len(found) > 1:
        raise AmbiguousName(f"{len(found)} pipelines are named {text!r}.")
    return str(found[0]["id"])


def _followed(client: Client, run_id: str) -> Mapping[str, Any]:
    try:
        return follow(client, run_id)
    except KeyboardInterrupt:
        ERR.print(f"Stopped following run {run_id}, which continues.")
        raise typer.Exit(128 + signal.SIGINT) from None


def read_document(file: Path) -> Mapping[str, Any]:
    """Return the mapping in a YAML or JSON file; `-` is standard input. Raises UnreadableFile."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.expanduser().read_text()
        # YAML reads some JSON differently (tabs, numbers such as 1e3), so .json files are read as JSON.
        document = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UnreadableFile(f"{file}: {error.strerror}.") from None
    except (ValueError, yaml.YAMLError) as error:
        # Name the line, but never quote it, because it may hold a secret.
        mark = getattr(error, "problem_mark", None)
        line = getattr(error, "lineno", None) or (mark.line + 1 if mark else None)
        where = f", line {line}" if line else ""
        raise UnreadableFile(f"{file}{where} is neither YAML nor JSON.") from None
    if not isinstance(document, dict):
        raise UnreadableFile(f"{file} does not contain a mapping.")
    return document


def _read_pipeline(file: Path) -> Mapping[str, Any]:
    document = read_document(file)
    if "source" in document and "config" not in document:
        return {"name": document.get("name") or file.stem, "config": document}
    return document
