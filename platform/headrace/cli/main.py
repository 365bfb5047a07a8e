"""The `headrace` command and its exit codes."""

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from headrace.cli.client import Problem
from headrace.cli.commands import connectors, doctor, domains, keys, pipelines, runs, state
from headrace.cli.commands.ui import ui
from headrace.cli.connection import owner_token
from headrace.cli.console import ERR
from headrace.cli.options import Home
from headrace.cli.platform.up import up
from headrace.errors import Conflict, HeadraceError, Invalid, NotFound, StartupError, Unavailable
from headrace.settings import load_settings

FAILED = 1  # the command worked, but its subject failed: a run, a check
USAGE = 2  # the command line is wrong, or the service found the request invalid
NOT_FOUND = 3
CONFLICT = 4
DENIED = 5  # no valid token, or a token without the right
UNAVAILABLE = os.EX_UNAVAILABLE  # 69: something does not respond; another try may succeed
CONFIGURATION = StartupError.exit_code  # 78: another try cannot succeed

_BY_STATUS = {
    401: DENIED,
    403: DENIED,
    404: NOT_FOUND,
    409: CONFLICT,
    410: NOT_FOUND,
    412: CONFLICT,
}
_BY_CATEGORY = {
    Invalid: USAGE,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    Unavailable: UNAVAILABLE,
    StartupError: CONFIGURATION,
}

app = typer.Typer(
    name="headrace",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 usage or invalid, 3 not found, 4 conflict, 5 denied, "
    "69 unavailable, 78 configuration.",
)
app.command()(up)
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(runs.app, name="runs")
app.add_typer(state.app, name="state")
app.add_typer(domains.app, name="domains")
app.add_typer(connectors.app, name="connectors")
app.add_typer(keys.app, name="keys")
app.command()(doctor.doctor)


@app.callback(invoke_without_command=True)
def headrace(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Headrace: pipelines stored over REST, run as Dagster jobs, moved as Apache Arrow."""
    if show_version:
        sys.stdout.write(f"headrace {version('headrace')}\n")
        raise typer.Exit


@app.command()
def token(home: Home = None) -> None:
    """Print the owner token of this home folder, and nothing else."""
    sys.stdout.write(owner_token(load_settings(home)) + "\n")


app.command()(ui)


def main() -> None:
    """Run the command; on an error, print it and exit with the code of its category."""
    try:
        app()
    except Problem as problem:
        sys.exit(_report_problem(problem))
    except HeadraceError as error:
        sys.exit(_report_error(error))


def _report_problem(problem: Problem) -> int:
    body = problem.body
    code = f" ({body['code']})" if body.get("code") else ""
    ERR.print(f"{body.get('title', 'Error')}: {problem}{code}", style="red", markup=False)
    for fault in body.get("errors", []):
        ERR.print(f"  {fault.get('pointer')}: {fault.get('detail')}", markup=False)
    if body.get("hint"):
        ERR.print(body["hint"], markup=False)
    return _BY_STATUS.get(problem.status, UNAVAILABLE if problem.status >= 500 else USAGE)


def _report_error(error: HeadraceError) -> int:
    ERR.print(f"{error.title}: {error.detail} ({error.code})", style="red", markup=False)
    if error.hint:
        ERR.print(error.hint, markup=False)
    codes = (code for category, code in _BY_CATEGORY.items() if isinstance(error, category))
    return next(codes, FAILED)


if __name__ == "__main__":
    main()
