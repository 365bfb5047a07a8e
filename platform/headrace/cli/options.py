"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """The two kinds of connectors."""

    SOURCE = "source"
    DESTINATION = "destination"


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="The folder of the installation.",
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
        help="The REST service; by default this home folder's own.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the API token.",
        show_default="HEADRACE_TOKEN, or this home folder's owner token",
        dir_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="The maximum number to print.")]
Follow = Annotated[bool, typer.Option("--follow", help="Wait until the run has ended.")]
