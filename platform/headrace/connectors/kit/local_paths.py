"""Paths of the worker's machine as configurations name them."""

from pathlib import Path

_base: Path | None = None


def start_relative_paths_at(folder: Path | None) -> None:
    """Say where relative paths begin in this process; None: where it was started."""
    global _base
    _base = folder


def local_path(path: str) -> Path:
    """Return a configured path whole: `~` is the user's home, and a relative path begins at one place.

    Without it the same pipeline would mean another file wherever the platform was started from.
    """
    return (_base or Path.cwd()) / Path(path).expanduser()
