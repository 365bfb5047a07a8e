"""Which REST service a command speaks to, and with which token."""

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
    """The platform of this home is not up, and no other was named."""

    code = "cli.not_running"
    title = "Platform not running"
    hint = "Start it with `headrace up`, or name another with --url."


class NoToken(StartupError):
    """There is no token for the REST service."""

    code = "cli.no_token"
    title = "No token"
    hint = "Put a token of that service into HEADRACE_TOKEN, or into a file that --token-file names."


class NoOwnerToken(StartupError):
    """The home folder has not been made ready yet, or is another than was meant."""

    code = "cli.no_owner_token"
    title = "No owner token"
    hint = "`headrace up` makes it; --home or HEADRACE_HOME says where the installation is."


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the platform of a home answers while it is up; `headrace up` writes it."""

    url: str
    dagster_url: str
    pid: int

    def write(self, root: Path) -> None:
        """Keep the addresses in the home folder `root`."""
        path = _addresses_file(root)
        make_private_folder(path.parent)
        replace_private(path, json.dumps(asdict(self)).encode())

    @classmethod
    def read(cls, root: Path) -> "Addresses | None":
        """Return the addresses of the platform of a home folder; None while it is not up."""
        # A platform that was killed has left its file, and somebody else may listen there by now.
        if not home_lock.is_held(root):
            return None
        try:
            return cls(**json.loads(read_private(_addresses_file(root))))
        except FileNotFoundError:
            return None

    @staticmethod
    def remove(root: Path) -> None:
        """Forget the addresses: the platform is no longer up."""
        _addresses_file(root).unlink(missing_ok=True)


def _addresses_file(root: Path) -> Path:
    return root / "run" / "api.json"


def connect(home: Path | None, url: str | None, token_file: Path | None) -> Client:
    """Return a client of the service that `url` names, or of the home's own.

    Raises NotRunning, NoToken, NotPrivate.
    """
    settings = load_settings(home)
    address = own_addresses(settings).url if url is None else url.rstrip("/")
    return Client(address, _token(token_file) or _own_token(settings, address))


def own_addresses(settings: Settings) -> Addresses:
    """Return where the platform of a home answers. Raises NotRunning."""
    own = Addresses.read(settings.root)
    if own is None:
        raise NotRunning(f"The platform of {settings.root} is not running.")
    return own


def owner_token(settings: Settings) -> str:
    """Return the owner token of a home. Raises NoOwnerToken and NotPrivate."""
    try:
        return read_private(settings.owner_token_file).decode().strip()
    except FileNotFoundError:
        raise NoOwnerToken(f"{settings.root} has no owner token.") from None


def _token(token_file: Path | None) -> str | None:
    if token_file is not None:
        return token_file.expanduser().read_text().strip()
    return os.environ.get("HEADRACE_TOKEN") or None


def _own_token(settings: Settings, address: str) -> str:
    # Never to another address: whoever answers there would own this installation.
    own = Addresses.read(settings.root)
    if own is None or address != own.url:
        raise NoToken(f"There is no token for {address}: the owner token is for this home's own service.")
    return owner_token(settings)
