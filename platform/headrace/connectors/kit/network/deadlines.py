"""Ends what takes too long: the opening of a connection, an answer that drips.

A socket's own time-out starts anew with each byte: a server that sends one now and then holds a run for ever.
"""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

LEAST_BYTES = 1024
"""Fewer bytes within a read time-out are no progress."""


class TooSlow(TimeoutError):
    """An answer took longer than it may as a whole, or hardly a byte of it came."""


@contextmanager
def ended_after(seconds: float, opened: socket.socket) -> Iterator[None]:
    """Shut a connection down if the block takes longer: whatever waits for it then ends."""
    known = opened.dup()  # TLS takes the original over

    def end() -> None:
        with suppress(OSError):
            known.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        known.close()


class PacedReader(io.RawIOBase):
    """What comes over a connection. Only the time in which it waits counts.

    With `answer` all of it must come within so many seconds. Without, LEAST_BYTES must come within every
    `silent` seconds. A read raises TooSlow, and TimeoutError after `silent` seconds without a byte.
    """

    def __init__(self, opened: socket.socket, *, silent: float, answer: float | None) -> None:
        self._socket = opened
        self._raw: Any = opened.makefile("rb", buffering=0)
        self._silent = silent
        self._seconds = silent if answer is None else answer
        self._is_renewed = answer is None
        self._waited = 0.0
        self._missing = LEAST_BYTES
        self.is_ended = False  # whether the other side has closed the connection

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Wait for bytes, and count the time."""
        left = self._seconds - self._waited
        if left <= 0:
            raise TooSlow("the answer is too slow")
        self._socket.settimeout(min(left, self._silent))
        began = time.monotonic()
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if left < self._silent:
                raise TooSlow("the answer is too slow") from None
            raise
        self.is_ended = count == 0
        self._waited += time.monotonic() - began
        self._missing -= count or 0
        if self._is_renewed and self._missing <= 0:
            self._waited, self._missing = 0.0, LEAST_BYTES
        return count

    def close(self) -> None:
        """Leave the connection."""
        self._raw.close()
        super().close()
