"""The options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """Which end of a pipeline a connector is."""

    SOURCE = "source"
    DESTINATION = "destination"


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The installation's folder.",
        show_default="HEADRACE_HOME, or .headrace",
        file_okay=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="HEADRACE_URL",
        help="The REST service, if not this home's own.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the API token.",
        show_default="HEADRACE_TOKEN, or this home's owner token",
        dir_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to print at most.")]
Follow = Annotated[bool, typer.Option("--follow", help="Stay until the run has ended.")]
