"""Dagster's folder inside the home folder, and the environment that Dagster's processes find it by."""

import hashlib
import os
import tempfile
from pathlib import Path

from headrace import private_files
from headrace.errors import StartupError
from headrace.settings import Settings

_PACKAGE = Path(__file__).parent
_LONGEST_SOCKET_PATH = 100
"""Bytes. The system allows 108, the end included; macOS 104."""


class NoDagsterSettings(StartupError):
    """The installation is incomplete: `dagster.yaml` or `workspace.yaml` is missing."""

    code = "dagster.settings_missing"
    title = "Dagster's settings missing"
    hint = "Install Headrace again: its package brings the file."


def prepare(settings: Settings) -> dict[str, str]:
    """Make Dagster's folder ready and return the environment variables its processes need.

    Starting again changes nothing. A `dagster.yaml` that is a regular file is the operator's own and stays.
    """
    private_files.make_private_folder(settings.root)
    private_files.make_private_folder(settings.dagster_home)
    _link(settings.dagster_home / "dagster.yaml", _shipped("dagster.yaml"))
    return {
        "HEADRACE_HOME": str(settings.root),
        "HEADRACE_CODE_SOCKET": str(code_socket(settings)),
        "DAGSTER_HOME": str(settings.dagster_home),
        # No run waits for calls that are still open when the code server stops.
        "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "5",
    }


def workspace_file() -> Path:
    """Return the `workspace.yaml` in use."""
    return _shipped("workspace.yaml")


def code_socket(settings: Settings) -> Path:
    """Return the code server's socket, in a folder that only this user may enter.

    It lies in the home folder, or in the temporary folder where the home's path is too long for a socket.
    """
    socket = settings.root / "run" / "code.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(os.fsencode(settings.root)).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}-{digest}" / "code.sock"
    private_files.make_private_folder(socket.parent)
    return socket


def _shipped(name: str) -> Path:
    # A wheel carries the files in the package, a checkout has them at its top.
    for folder in (_PACKAGE, _PACKAGE.parents[1]):
        if (folder / name).is_file():
            return folder / name
    raise NoDagsterSettings(f"{name} is neither in {_PACKAGE} nor in {_PACKAGE.parents[1]}.")


def _link(link: Path, target: Path) -> None:
    if link.exists() and not link.is_symlink():
        return
    # A rename, so that another process that starts at the same moment always finds the file.
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
