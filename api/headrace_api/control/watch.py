"""Ends the process when one of its loops hangs, for its supervisor to start it again.

Nothing else would do the work of that loop, and no request would show that it is left undone.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence

from headrace_api.control.loop import Loop

_log = logging.getLogger(__name__)

STUCK_SECONDS = 180.0
"""Longer than all waits together between two signs of a round: each of them has a bound."""
_CHECK_SECONDS = 5.0


def _end_process() -> None:
    os._exit(os.EX_SOFTWARE)


class Watch:
    """Watches loops. `end` is called, once, when one of them has not gone on for `seconds`."""

    def __init__(
        self, loops: Sequence[Loop], *, seconds: float = STUCK_SECONDS, end: Callable[[], None] = _end_process
    ) -> None:
        self._loops = loops
        self._seconds = seconds
        self._end = end
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headrace-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer: a process that stops waits for its loops by itself."""
        self._stopping.set()

    def _run(self) -> None:
        before: set[str] = set()
        while not self._stopping.wait(min(_CHECK_SECONDS, self._seconds / 2)):
            silent = {loop.name for loop in self._loops if loop.silence() > self._seconds}
            # Twice in a row: after a pause of the whole process every loop was silent.
            if hung := silent & before:
                names = ", ".join(sorted(hung))
                _log.critical("%s: no sign of life for %g s; ending the process.", names, self._seconds)
                self._end()
                return
            before = silent
