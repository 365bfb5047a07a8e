"""`headrace domains`: list, create and delete groups of pipelines."""

from typing import Annotated

import typer

from headrace.cli.connection import connect
from headrace.cli.console import OUT, print_json, print_table
from headrace.cli.options import AsJson, Home, Limit, TokenFile, Url

app = typer.Typer(help="Domains: groups of pipelines.", invoke_without_command=True)

_COLUMNS = {"id": "ID", "name": "NAME", "description": "DESCRIPTION", "color": "COLOR"}


@app.callback()
def list_(
    context: typer.Context,
    limit: Limit = 100,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the domains. The commands below change them."""
    if context.invoked_subcommand is not None:
        return
    domains = connect(home, url, token_file).pages("/api/domains", limit=limit)
    if as_json:
        print_json(domains)
    else:
        print_table(domains, _COLUMNS)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The domain's name.")],
    description: Annotated[str | None, typer.Option(help="A description.")] = None,
    color: Annotated[
        str | None, typer.Option(metavar="#RRGGBB", help="A colour, for user interfaces.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Create a domain."""
    asked = {"name": name, "description": description, "color": color}
    body = {key: value for key, value in asked.items() if value is not None}
    created = connect(home, url, token_file).post("/api/domains", body)
    if as_json:
        print_json(created)
    else:
        OUT.print(f"Created {created['name']} as {created['id']}", markup=False)


@app.command()
def delete(
    domain: Annotated[str, typer.Argument(metavar="ID", help="The domain's id.")],
    home: Home = None,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Delete a domain that has no pipelines."""
    connect(home, url, token_file).delete(f"/api/domains/{domain}")
    OUT.print(f"Deleted {domain}")
