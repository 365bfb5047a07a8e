"""Fault injection for tests: named points of the code where a process can be made to die, raise or hang.

Without the setting `failpoints`, a point costs one comparison and does nothing. With it, a file
`<point>.<pipeline id>` in that folder says what happens when that pipeline next reaches the point: `kill` (a
SIGKILL, so nothing is cleaned up), `raise` (an unexpected error) or `hang`. It happens once. To test work
that succeeds and then seems to fail, use a point after the work.
"""

import os
import signal
import threading
from pathlib import Path
from typing import Literal, NoReturn
from uuid import UUID

Action = Literal["kill", "raise", "hang"]
Point = Literal[
    "triggered", "launching", "launched", "extracting", "writing", "written", "loaded", "committed", "ended"
]

_folder: Path | None = None


class Injected(Exception):
    """The error that a test injected."""


def use(folder: Path | None) -> None:
    """Read the faults of this process from a folder; None: inject no faults."""
    global _folder
    _folder = folder


def reach(point: Point, pipeline_id: UUID | str) -> None:
    """Inject the fault of the point's file, if there is one. The file is deleted first."""
    if _folder is None:
        return
    path = _folder / f"{point}.{pipeline_id}"
    try:
        action = path.read_text().strip()
        path.unlink()
    except FileNotFoundError:
        return
    if action == "kill":
        _die()
    if action == "raise":
        raise Injected(point)
    threading.Event().wait()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
