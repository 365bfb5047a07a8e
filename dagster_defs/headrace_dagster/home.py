"""Dagster's folder inside the home folder, and the environment variables that point to it."""

import hashlib
import os
import tempfile
from pathlib import Path

from headrace import private_files, scratch
from headrace.errors import StartupError
from headrace.settings import Settings

_PACKAGE = Path(__file__).parent
_LONGEST_SOCKET_PATH = 100
"""In bytes. Linux allows 108 with the final zero, macOS 104."""
_FORK_SERVERS_SOCKET = "code-12345678/pymp-12345678/listener-12345678"
"""As `tempfile` and `multiprocessing` name it."""


class NoDagsterSettings(StartupError):
    """The installation is incomplete: `dagster.yaml` or `workspace.yaml` is missing."""

    code = "dagster.settings_missing"
    title = "Dagster's settings are missing"
    hint = "Install Headrace again; the package contains the file."


def prepare(settings: Settings) -> dict[str, str]:
    """Prepare Dagster's folder and return the environment variables that its processes need. Idempotent.

    A `dagster.yaml` that is a regular file belongs to the operator and is kept.
    """
    private_files.make_private_folder(settings.root)
    private_files.make_private_folder(settings.dagster_home)
    _link(settings.dagster_home / "dagster.yaml", _shipped("dagster.yaml"))
    return {
        "HEADRACE_HOME": str(settings.root),
        "HEADRACE_CODE_SOCKET": str(code_socket(settings)),
        "DAGSTER_HOME": str(settings.dagster_home),
        # How long the code server waits for open calls when it stops.
        "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "5",
    }


def workspace_file() -> Path:
    """Return the `workspace.yaml` in use."""
    return _shipped("workspace.yaml")


def code_socket(settings: Settings) -> Path:
    """Return the path of the code server's socket, in a folder that only this user may enter."""
    return _folder_of_sockets(settings, "code.sock") / "code.sock"


def take_scratch(settings: Settings) -> None:
    """Let this process's temporary things, its fork server's socket among them, be found after a kill."""
    scratch.take(_folder_of_sockets(settings, _FORK_SERVERS_SOCKET), "code")


def _folder_of_sockets(settings: Settings, name: str) -> Path:
    """Return the folder in the home folder, or in the temporary folder if a socket's path gets too long."""
    folder = settings.run_folder
    if len(os.fsencode(folder / name)) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(settings.root)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}-{digest}"
    private_files.make_private_folder(folder)
    return folder


def _shipped(name: str) -> Path:
    # In a wheel the files are in the package, in a checkout at the top.
    for folder in (_PACKAGE, _PACKAGE.parents[1]):
        if (folder / name).is_file():
            return folder / name
    raise NoDagsterSettings(f"Neither {_PACKAGE} nor {_PACKAGE.parents[1]} contains {name}.")


def _link(link: Path, target: Path) -> None:
    if link.exists() and not link.is_symlink():
        return
    # Replaced by a rename, so another process that starts at the same time always finds the file.
    scratch.sweep_abandoned(link.parent, f".{link.name}.*")
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
