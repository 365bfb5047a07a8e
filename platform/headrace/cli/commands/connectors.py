"""`headrace connectors`: the systems that can be read and written, and how to configure them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.client import Client
from headrace.cli.commands import connector_authoring
from headrace.cli.commands.pipelines import read_document
from headrace.cli.connection import connect
from headrace.cli.console import OUT, print_json, print_table
from headrace.cli.options import AsJson, Home, Kind, TokenFile, Url
from headrace.errors import NotFound

_CARD_COLUMNS = {"kind": "KIND", "name": "NAME", "title": "TITLE", "summary": "SUMMARY"}
_STREAM_COLUMNS = {"name": "NAME", "sync_modes": "SYNC MODES"}
_FOUND_COLUMNS = {
    "name": "NAME",
    "sync_modes": "SYNC MODES",
    "primary_key": "PRIMARY KEY",
    "cursor_field": "CURSOR FIELD",
}
_FIELD_COLUMNS = {"field": "FIELD", "type": "TYPE", "needed": "NEEDED", "description": "DESCRIPTION"}

app = typer.Typer(help="Connectors: the systems that pipelines can read and write.", no_args_is_help=True)


WhichKind = Annotated[Kind, typer.Argument(metavar="KIND", help="source or destination.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The connector's name.")]

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        allow_dash=True,
        help="The connector's config as YAML or JSON; - reads standard input.",
    ),
]


class NoSuchConnector(NotFound):
    """This installation has no connector of that kind and name."""

    code = "cli.no_such_connector"
    title = "No such connector"
    hint = "`headrace connectors list` lists all connectors."


@app.command("list")
def list_(as_json: AsJson = False, home: Home = None, url: Url = None, token_file: TokenFile = None) -> None:
    """List the connectors."""
    client = connect(home, url, token_file)
    cards = [{"kind": kind.value, **card} for kind in Kind for card in _cards(client, kind)]
    if as_json:
        print_json(cards)
    else:
        print_table(cards, _CARD_COLUMNS)


@app.command()
def show(
    kind: WhichKind,
    name: Name,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show a connector's streams and the fields of its config."""
    cards = [card for card in _cards(connect(home, url, token_file), kind) if card["name"] == name]
    if not cards:
        raise NoSuchConnector(f"There is no {kind} named {name!r}.")
    if as_json:
        print_json(cards[0])
    else:
        _print_card(cards[0])


@app.command()
def check(
    kind: WhichKind,
    name: Name,
    file: ConfigFile,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Check that a config connects to its system. Exits with 1 if it does not."""
    config = read_document(file)
    answer = connect(home, url, token_file).post(f"/api/connectors/{kind}/{name}/check", {"config": config})
    if as_json:
        print_json(answer)
    else:
        OUT.print(answer["message"], style="green" if answer["success"] else "red", markup=False)
    if not answer["success"]:
        raise typer.Exit(1)


@app.command()
def streams(
    name: Name,
    file: ConfigFile,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the streams of a source's system."""
    body = {"config": read_document(file)}
    answer = connect(home, url, token_file).post(f"/api/connectors/sources/{name}/streams", body)
    if as_json:
        print_json(answer)
    else:
        print_table(answer, _FOUND_COLUMNS)


@app.command()
def preview(
    name: Name,
    stream: Annotated[str, typer.Option("--stream", metavar="STREAM", help="The stream to read.")],
    file: ConfigFile,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="The number of records.")] = 10,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show the first records of a stream. Nothing is stored."""
    body = {"config": read_document(file), "stream": stream, "limit": limit}
    answer = connect(home, url, token_file).post(f"/api/connectors/sources/{name}/preview", body)
    if as_json:
        print_json(answer)
    else:
        headings = {column["name"]: f"{column['name']}\n{column['type']}" for column in answer["columns"]}
        print_table(answer["records"], headings)


app.command()(connector_authoring.new)
app.command("test")(connector_authoring.hold_to_promises)


def _cards(client: Client, kind: Kind) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = client.get(f"/api/connectors/{kind}s")
    return cards


def _print_card(card: dict[str, Any]) -> None:
    OUT.print(f"{card['title']} ({card['name']})", style="bold", markup=False)
    OUT.print(card["summary"], markup=False)
    if card.get("streams"):
        OUT.print("\nStreams", style="bold")
        print_table(card["streams"], _STREAM_COLUMNS)
    elif card.get("dynamic_streams"):
        OUT.print("\nThe streams depend on the system that it connects to.")
    OUT.print("\nConfig", style="bold")
    print_table(_fields(card["config_schema"]), _FIELD_COLUMNS)


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    needed = schema.get("required", [])
    return [
        {
            "field": name,
            "type": _type_text(fact),
            "needed": name in needed,
            "description": fact.get("description"),
        }
        for name, fact in schema.get("properties", {}).items()
    ]


def _type_text(fact: dict[str, Any]) -> str:
    if "enum" in fact:
        return " | ".join(json.dumps(value) for value in fact["enum"])
    if "anyOf" in fact:
        return " | ".join(_type_text(option) for option in fact["anyOf"])
    if "$ref" in fact:
        return str(fact["$ref"].rsplit("/", 1)[-1])
    return "secret" if fact.get("writeOnly") else str(fact.get("type", "any"))
