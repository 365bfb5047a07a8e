"""Unit tests use no files, sockets or other processes. A test that does fails: it belongs elsewhere."""

import os
import sys
from collections.abc import Iterator
from threading import get_ident, main_thread
from typing import Any

import pytest

# What Python and Hypothesis write for themselves, whatever a test does.
_THEIR_OWN = ("__pycache__", "hypothesis", "/dev/null", ":memory:")
# Without os.remove: finalizers of what other tests have left may remove files at any time.
_FORBIDDEN = {"os.mkdir", "socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen", "os.fork"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_watched: list[str] = []  # the test that runs now, if it is one that may not
_used: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578). It cannot be removed, and costs little while no unit test runs."""
    if not _watched or (event not in _FORBIDDEN and event != "open"):
        return
    if get_ident() != main_thread().ident:  # a thread that an earlier test has left
        return
    target = str(arguments[0]) if arguments else ""
    if event == "open" and (isinstance(arguments[0], int) or not _writes(arguments[2])):
        return
    if not any(part in target for part in _THEIR_OWN):
        _used.append(f"{event} {target}")


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITING)


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def _neither_disk_nor_network(request: pytest.FixtureRequest) -> Iterator[None]:
    if "tmp_path" in request.fixturenames:  # a name for a folder, which the test then leaves alone
        request.getfixturevalue("tmp_path")
    _used.clear()
    _watched.append(request.node.nodeid)
    yield
    _watched.clear()
    assert not _used, f"A unit test uses disk or network ({_used[0]}): move it to tests/integration."
