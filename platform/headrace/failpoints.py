"""Faults on demand: named points of the code at which a test has a process die, raise or hang.

Without the setting `failpoints` a point costs one comparison and does nothing. With it, a file
`<point>.<pipeline id>` in that folder says what is to happen once, when that pipeline next gets there:
`kill` (as by the kernel: nothing is cleaned up), `raise` (an error that nobody foresaw) or `hang`. What was
done and then seemed to fail is a point after the deed.
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
    """The fault that a test asked for."""


def use(folder: Path | None) -> None:
    """Let this process's points heed the files of a folder; None: no point does anything."""
    global _folder
    _folder = folder


def reach(point: Point, pipeline_id: UUID | str) -> None:
    """Do what the point's file says, if there is one; the file is gone before it is done."""
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
