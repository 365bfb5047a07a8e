"""A run's interrupts, SIGINT and SIGTERM: noted at any time, raised only while the engine works.

An exception raised by a signal comes out of whichever line runs. Between the claim and the engine, or while a
failure is written, it would leave a row `running` that nobody executes. Raised in a finalizer or a callback,
or in a connector that catches everything, it would be swallowed. The note remains, and `check` raises it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The process was told to end. Not an Exception: a connector that handles those must not handle this."""


class Interrupts:
    """The interrupts of one run."""

    def __init__(self) -> None:
        self._noted = self._raises = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note interrupts during the block instead of raising them. Other threads never get a signal."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise Interrupted during the block, once: a second signal must not break the cleaning up."""
        try:
            self._raises = True
            self.check()
            yield
        finally:
            self._raises = False

    def check(self) -> None:
        """Raise Interrupted if an interrupt has come."""
        if self._noted:
            raise Interrupted

    def _take(self, number: int, frame: FrameType | None) -> None:
        is_first, self._noted = not self._noted, True
        if is_first and self._raises:
            raise Interrupted
