"""Fault injection for tests: named points of the code where a process meets a fault, once.

Without the setting `failpoints`, a point costs one comparison and does nothing. With it, a file
`<point>.<subject>` in that folder says what the first process meets that reaches the point with the subject.
The process takes the file by renaming it, so one process meets the fault, one time. Most subjects are ids of
pipelines. `headrace.failpoint_list` says where each point is and who repairs a kill there.

A start with the setting is refused unless `allow_failpoints` is set, too.
"""

import errno
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Literal, NoReturn
from uuid import UUID

from headrace.errors import Unavailable

Action = Literal["kill", "raise", "hang", "full", "lose", "pause"]
"""What happens: the process is killed, so nothing is cleaned up; an unexpected error is raised; the thread
hangs, for ever or for so many seconds; the disk is full; what was just done succeeds, and its answer is lost;
the process stops, and wakes up after so many seconds. A file holds one of them, such as `pause 20`."""
Point = str
"""The name of a point, one of `headrace.failpoint_list.POINTS`."""

PLATFORM = "platform"
"""The subject of points that belong to no pipeline."""
TAKEN = "taken."
"""How the name of a file begins that a process has taken. It then holds the id of the process."""
_PAUSE_SECONDS = 20.0

_folder: Path | None = None


class Injected(Exception):
    """The error that a test injected."""


class AnswerLost(Unavailable):
    """A test lost the answer to what was done. No installation without failpoints raises it."""

    code = "failpoint.answer_lost"
    title = "Answer lost"


def use(folder: Path | None) -> None:
    """Read the faults of this process from a folder; None: inject no faults."""
    global _folder
    _folder = folder


def reach(point: Point, subject: UUID | str = PLATFORM) -> None:
    """Meet the fault of the point's file, if there is one."""
    if _folder is None:
        return
    action, _, seconds = _taken(_folder, f"{point}.{subject}").partition(" ")
    match action:
        case "kill":
            _die()
        case "raise":
            raise Injected(point)
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "lose":
            raise AnswerLost(f"The answer was lost at {point}.")
        case "hang":
            threading.Event().wait(float(seconds) if seconds else None)
        case "pause":
            _pause(float(seconds or _PAUSE_SECONDS))


def _taken(folder: Path, name: str) -> str:
    """Take the file of that name, and return what it holds; empty if there is none."""
    taken = folder / f"{TAKEN}{name}"
    try:
        (folder / name).rename(taken)
    except FileNotFoundError:
        return ""
    action = taken.read_text().strip()
    taken.write_text(str(os.getpid()))
    return action


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def _pause(seconds: float) -> None:
    """Stop this process; another one wakes it up."""
    wake = f"sleep {seconds:g}; kill -CONT {os.getpid()}"
    # Without the environment, by which tests know the platform's processes.
    with subprocess.Popen(["/bin/sh", "-c", wake], env={}, start_new_session=True):  # noqa: S603  # two numbers
        os.kill(os.getpid(), signal.SIGSTOP)
