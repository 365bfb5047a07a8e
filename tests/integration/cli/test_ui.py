import re
import stat
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from headrace.cli.commands import ui as command
from headrace.cli.connection import Addresses
from headrace.service.web_session import Purpose, SessionSeal
from headrace.settings import Settings

TOKEN = "owner-token"
LINK = re.compile(r"http://127\.0\.0\.1:2/headrace/open\?ticket=([\w-]+)")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the machine's browser was opened with."""
    opened: list[str] = []
    (tmp_path / "run").mkdir(mode=0o700)
    addresses = Addresses(url="http://127.0.0.1:1", dagster_url="http://127.0.0.1:2", pid=1)
    monkeypatch.setattr(command, "own_addresses", lambda settings: addresses)
    monkeypatch.setattr(command, "owner_token", lambda settings: TOKEN)
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.BackgroundBrowser("firefox"))
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    return opened


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have what the test prints go to a terminal; called by the test, whose output is its own."""
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def ticket_in(home: Path, text: str) -> str | None:
    found = LINK.search(text)
    assert found is not None, text
    return SessionSeal.load(Settings(home=home)).open(found[1], Purpose.TICKET)


def test_the_browser_is_given_the_link_where_no_other_user_reads_it(
    tmp_path: Path,
    opened: list[str],
    at_a_terminal: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_a_terminal()

    command.ui(home=tmp_path)

    (address,) = opened
    page = Path(unquote(urlsplit(address).path))
    assert ticket_in(tmp_path, capsys.readouterr().out) == TOKEN
    assert ticket_in(tmp_path, page.read_text()) == TOKEN
    assert "ticket" not in address
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_only_the_link_is_printed_where_nobody_is_at_a_terminal(
    tmp_path: Path, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command.ui(home=tmp_path)

    assert LINK.fullmatch(capsys.readouterr().out.strip())
    assert opened == []


def no_browser() -> webbrowser.BaseBrowser:
    raise webbrowser.Error


@pytest.mark.parametrize("get", [lambda: webbrowser.GenericBrowser("lynx"), no_browser])
def test_no_browser_takes_over_the_terminal(
    tmp_path: Path,
    opened: list[str],
    at_a_terminal: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    get: object,
) -> None:
    at_a_terminal()
    monkeypatch.setattr(webbrowser, "get", get)

    command.ui(home=tmp_path)

    assert opened == []


def test_a_browser_can_be_declined(
    tmp_path: Path, opened: list[str], at_a_terminal: Callable[[], None]
) -> None:
    at_a_terminal()

    command.ui(home=tmp_path, no_browser=True)

    assert opened == []
