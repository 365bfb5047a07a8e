"""Waiting for what other threads and processes do, and ports for them."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T | None], *, seconds: float = 120, what: str = "It", pause: float = 0.05
) -> T:
    """Return the first true thing that `look` returns, `pause` seconds apart; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s."
        time.sleep(pause)


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
