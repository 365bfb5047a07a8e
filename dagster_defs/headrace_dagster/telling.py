"""How a worker tells Dagster of its run: patiently, and never at the run's expense.

The row of the run is the truth. A storage of Dagster's that is away for a while delays what is told.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from dagster import DagsterInstance
from sqlalchemy.exc import InterfaceError, OperationalError

from headrace.patience import patiently

OUTAGE_SECONDS = 60.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


def tell_patiently(instance: DagsterInstance) -> None:
    """Have this process wait for Dagster's storage, where it writes of runs, instead of failing at once."""
    for storage, names in (
        (instance.event_log_storage, ("store_event", "store_event_batch")),
        (instance.run_storage, ("handle_run_event",)),
    ):
        for name in names:
            write = getattr(storage, name)
            if not hasattr(write, "__wrapped__"):
                setattr(storage, name, patient(write))


def patient(write: Callable[..., T], seconds: float = OUTAGE_SECONDS) -> Callable[..., T]:
    """Return `write`, called again for so long while the database is away."""

    @wraps(write)
    def again(*args: Any, **options: Any) -> T:
        return patiently(
            lambda: write(*args, **options),
            passing=(OperationalError, InterfaceError),
            seconds=seconds,
            told=lambda error: _log.warning("Dagster's storage is away: %s.", type(error).__name__),
        )

    return again


class Told(logging.Handler):
    """Passes lines on to Dagster's log of the run. A line that cannot be told is dropped."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._told = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one line."""
        try:
            self._told.log(record.levelno, record.getMessage())
        except Exception as error:
            _log.warning("A line of the run's log was lost: %s.", type(error).__name__)


def run_log(log: logging.Logger) -> logging.Logger:
    """Return a logger that tells Dagster's log of a run, and never raises."""
    teller = logging.Logger("headrace.run", logging.DEBUG)
    teller.addHandler(Told(log))
    return teller
