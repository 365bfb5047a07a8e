"""`headrace ui`: opens the Dagster UI, signed in."""

import html
import sys
import webbrowser
from typing import Annotated

import typer

from headrace.cli.connection import own_addresses, owner_token
from headrace.cli.console import ERR
from headrace.cli.options import Home
from headrace.private_files import replace_private
from headrace.settings import Settings, load_settings

_PAGE = """<!doctype html><meta charset="utf-8"><title>Headrace</title>
<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">Open the Dagster UI</a>
"""


def ui(
    home: Home = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
) -> None:
    """Open the Dagster UI in a browser, signed in, and print the link. It works once, within 5 minutes."""
    settings = load_settings(home)
    link = f"{own_addresses(settings).dagster_url}/headrace/open?ticket={_ticket(settings)}"
    sys.stdout.write(f"{link}\n")
    if not no_browser and sys.stdout.isatty() and _has_window():
        # Open a file instead of the link, because all users can read a program's arguments.
        page = settings.root / "run" / "sign_in.html"
        replace_private(page, _PAGE.format(link=html.escape(link)).encode())
        if webbrowser.open(page.as_uri()):
            ERR.print("Opening it in your browser. The link cannot be used again.", style="dim")


def _ticket(settings: Settings) -> str:
    # Imported here, because cryptography would slow down the start of other commands.
    from headrace.service.web_session import Purpose, SessionSeal

    return SessionSeal.load(settings).seal(owner_token(settings), Purpose.TICKET)


def _has_window() -> bool:
    """Return True if the browser opens a window and does not run in the terminal."""
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return False
    return type(found) is not webbrowser.GenericBrowser
