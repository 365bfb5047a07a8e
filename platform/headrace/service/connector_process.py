"""Checks and previews: each runs its connector in a process of its own.

Whatever a connector does there (hang, crash, leak memory or threads) ends with that process. The process gets
its configuration over standard input: other users can read a process's arguments and environment.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Literal

from headrace.connectors.registry import Kind
from headrace.errors import Invalid, Unavailable
from headrace.settings import Settings

SECONDS = 30.0
"""How long a task may take."""

_AT_ONCE = 4
_slots = BoundedSemaphore(_AT_ONCE)


class ConnectorRefused(Invalid):
    """The system cannot be used with this configuration; `cause` is the code of what went wrong there."""

    code = "connector.refused"
    title = "System cannot be used"
    hint = "POST .../check of the connector says whether the system answers."


class ConnectorTimedOut(Unavailable):
    """The system did not answer before the check timed out."""

    code = "connector.timed_out"
    title = "System too slow"
    hint = "A run may take longer; look at a smaller stream, or check the system's load."


class TooManyTasks(Unavailable):
    """The service already runs as many checks and previews as it does at once."""

    code = "connector.too_many_probes"
    title = "Too many checks and previews"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to do with a connector."""

    action: Literal["check", "streams", "preview"]
    kind: Kind
    name: str
    config: Mapping[str, Any]
    stream: str = ""
    limit: int = 0


def in_own_process(task: Task, settings: Settings, *, seconds: float = SECONDS) -> Any:
    """Run the task and return its result, a JSON value.

    Raises ConnectorRefused, ConnectorTimedOut and TooManyTasks; their text holds no secret.
    """
    if not _slots.acquire(timeout=seconds):
        raise TooManyTasks(f"{_AT_ONCE} checks and previews are under way.")
    try:
        answer = _ask(task, settings, seconds)
    finally:
        _slots.release()
    if "error" in answer:
        code, detail = answer["error"]
        raise ConnectorRefused(detail, context={"cause": code})
    return answer["value"]


def _ask(task: Task, settings: Settings, seconds: float) -> dict[str, Any]:
    question = {
        **vars(task),
        "connectors": str(settings.connectors),
        "private_networks": settings.private_networks,
        "data_folder": str(settings.data_folder),
        "seconds": seconds,
    }
    # The folder is deleted with whatever is left in it, also if the process had to be killed.
    with tempfile.TemporaryDirectory(prefix="headrace-connector-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "headrace.service.connector_process_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path.cwd(),
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(json.dumps(question).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ConnectorTimedOut(f"There was no answer within {seconds:.0f} s.") from None
        finally:
            _end(process)
    return _read(output, task.name)


def _environment(folder: str) -> dict[str, str]:
    """Return the environment without the settings of this installation, some of which are secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return kept | {"TMPDIR": folder}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # and the processes that it has started
        process.communicate()


def _read(output: bytes, name: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": ("connector.crashed", f"The connector {name} ended its process.")}
    return answer
