"""The REST service and the token that a command uses."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.cli import home_lock
from headrace.cli.client import Client
from headrace.errors import StartupError, Unavailable
from headrace.private_files import make_private_folder, read_private, replace_private
from headrace.settings import Settings, load_settings


class NotRunning(Unavailable):
    """The platform of this home folder is not running, and the command names no other."""

    code = "cli.not_running"
    title = "Platform not running"
    hint = "Start it with `headrace up`, or name another service with --url."


class NoToken(StartupError):
    """There is no token for the REST service."""

    code = "cli.no_token"
    title = "No token"
    hint = "Set HEADRACE_TOKEN to a token of that service, or name a file with --token-file."


class NoOwnerToken(StartupError):
    """The home folder has no owner token: it is new, or it is the wrong folder."""

    code = "cli.no_owner_token"
    title = "No owner token"
    hint = "`headrace up` creates it. Name the installation's folder with --home or HEADRACE_HOME."


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of a running platform. `headrace up` writes them to the home folder."""

    url: str
    dagster_url: str
    pid: int

    def write(self, root: Path) -> None:
        """Write the addresses to the home folder `root`."""
        path = _addresses_file(root)
        make_private_folder(path.parent)
        replace_private(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, root: Path) -> "Addresses | None":
        """Return the addresses of a home folder's platform; None if it is not running."""
        # A killed platform leaves its file behind, and another program may listen at the address now.
        if not home_lock.is_held(root):
            return None
        try:
            return cls(**json.loads(read_private(_addresses_file(root))))
        except FileNotFoundError:
            return None

    @staticmethod
    def remove(root: Path) -> None:
        """Delete the addresses when the platform stops."""
        _addresses_file(root).unlink(missing_ok=True)


def _addresses_file(root: Path) -> Path:
    return root / "run" / "api.json"


def connect(home: Path | None, url: str | None, token_file: Path | None) -> Client:
    """Return a client of the service at `url`, or else of the home folder's own service.

    Raises NotRunning, NoToken, NotPrivate.
    """
    settings = load_settings(home)
    address = own_addresses(settings).url if url is None else url.rstrip("/")
    return Client(address, _token(token_file) or _own_token(settings, address))


def own_addresses(settings: Settings) -> Addresses:
    """Return the addresses of a home folder's platform. Raises NotRunning."""
    own = Addresses.read(settings.root)
    if own is None:
        raise NotRunning(f"The platform of {settings.root} is not running.")
    return own


def owner_token(settings: Settings) -> str:
    """Return the owner token of a home folder. Raises NoOwnerToken and NotPrivate."""
    try:
        return read_private(settings.owner_token_file).decode().strip()
    except FileNotFoundError:
        raise NoOwnerToken(f"{settings.root} has no owner token.") from None


def _token(token_file: Path | None) -> str | None:
    if token_file is not None:
        return token_file.expanduser().read_text().strip()
    return os.environ.get("HEADRACE_TOKEN") or None


def _own_token(settings: Settings, address: str) -> str:
    # Never send it to another address: whoever receives it controls this installation.
    own = Addresses.read(settings.root)
    if own is None or address != own.url:
        raise NoToken(
            f"There is no token for {address}. The owner token is only for this home folder's own service."
        )
    return owner_token(settings)
