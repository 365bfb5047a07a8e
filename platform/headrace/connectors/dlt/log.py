"""What dlt has to say, in the run's log: by itself it writes to the terminal of whoever started it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_DLT = logging.getLogger("dlt")
_DLT.addHandler(logging.NullHandler())  # dlt adds a handler for the terminal where it finds none


@contextmanager
def relayed(log: logging.Logger) -> Iterator[None]:
    """Write the first line of each of dlt's warnings to `log`: the others are advice to programmers.

    Its errors are raised too, and their texts quote values.
    """
    handler = _Relay(log)
    _DLT.addHandler(handler)
    try:
        yield
    finally:
        _DLT.removeHandler(handler)


class _Relay(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._log.warning("dlt: %s", record.getMessage().partition("\n")[0])
