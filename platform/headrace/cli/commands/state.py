"""`headrace state`: how far an incremental pipeline has read, and where the next run starts."""

import json
from typing import Annotated, Any

import typer

from headrace.cli.client import Client
from headrace.cli.commands.pipelines import Which, pipeline_id
from headrace.cli.connection import connect
from headrace.cli.console import print_facts, print_json
from headrace.cli.options import AsJson, Home, TokenFile, Url

app = typer.Typer(help="State: how far an incremental pipeline has read.", no_args_is_help=True)


@app.command()
def show(
    pipeline: Which,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show the cursor after which the next run starts to read."""
    client = connect(home, url, token_file)
    _print(client.get(_path(client, pipeline)), as_json=as_json)


@app.command("set")
def set_(
    pipeline: Which,
    cursor: Annotated[
        str, typer.Argument(metavar="CURSOR", help="A cursor as `state show` prints it, JSON or text.")
    ],
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Make the next run read after this cursor."""
    client = connect(home, url, token_file)
    _print(client.put(_path(client, pipeline), {"cursor": _value(cursor)}), as_json=as_json)


@app.command()
def reset(
    pipeline: Which,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Make the next run read everything and replace the destination's table."""
    client = connect(home, url, token_file)
    _print(client.delete(_path(client, pipeline)), as_json=as_json)


def _path(client: Client, pipeline: str) -> str:
    return f"/api/pipelines/{pipeline_id(client, pipeline)}/state"


def _value(text: str) -> Any:
    """Return a number, text or object that is written as JSON; any other text unchanged."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, bool | list) else value


def _print(state: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
    else:
        print_facts(state | {"cursor": json.dumps(state["cursor"])})
