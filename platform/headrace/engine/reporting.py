"""The log and progress of a run, and how its errors leave it."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from headrace.engine.job import EngineJob, Progress
from headrace.engine.output import DiskFull
from headrace.errors import HeadraceError, is_disk_full
from headrace.masking import MaskingFilter, masked_logger
from headrace.records import RunPhase

T = TypeVar("T")
_LOG_SECONDS = 5.0
_LOG_SHARE = 10  # the longer the run, the rarer its lines of progress: ten hours write some 80


class ConnectorCrashed(HeadraceError):
    """A connector raised an unexpected error. Its text is withheld, because it may contain secrets."""

    code = "connector.crashed"
    title = "Connector crashed"
    hint = "This is a fault of the connector. Report it with the place that the message names."


class Reporter:
    """The log and progress of one run, and the check whether to continue. All text is masked."""

    def __init__(self, job: EngineJob, masking: MaskingFilter) -> None:
        self.masking = masking
        self.log: logging.Logger = masked_logger(job.log, masking)
        job.tally.masked = masking.mask
        self.warn = job.tally.warn  # counts a RunWarning
        self._job = job
        self._stopped: Exception | None = None
        self._started = self._reported = time.monotonic()

    @property
    def is_stopped(self) -> bool:
        """Whether the run must not go on: `check` has raised."""
        return self._stopped is not None

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return time.monotonic() - self._started

    def check(self) -> None:
        """Call the job's `check`, which raises if the run must end."""
        self._ask(self._job.check)

    def check_before_commit(self) -> None:
        """Call the job's `before_commit`, which raises if the run must end."""
        self._ask(self._job.before_commit)

    def progress(self, phase: RunPhase, rows: int, size: int) -> None:
        """Report the progress, and log it from time to time."""
        self._job.progress(Progress(phase=phase, rows=rows, bytes=size))
        now = time.monotonic()
        if now - self._reported >= max(_LOG_SECONDS, (now - self._started) / _LOG_SHARE):
            self._reported = now
            done = "read" if phase is RunPhase.EXTRACT else "loaded"
            self.log.info("%s rows %s, %s a second since the start", f"{rows:,}", done, self.rate(rows))

    def rate(self, rows: int) -> str:
        """Return the rows a second since the start, as text."""
        return f"{rows / max(self.seconds, 0.001):,.0f}"

    def best_effort(self, what: str, do: Callable[[], T], otherwise: T) -> T:
        """Return what a function returns; where it fails, log that and return `otherwise`.

        For what must not fail a run, such as anything after its commit.
        """
        try:
            return do()
        except Exception as error:
            with suppress(Exception):
                self.log.warning("%s failed with %s; the run goes on", what, type(error).__name__)
            return otherwise

    def new_schema(self, old: pa.Schema, new: pa.Schema) -> None:
        """Log each column that a batch has added or widened."""
        before = {column.name: column.type for column in old}
        for column in new:
            if column.name not in before:
                self.log.info("New column %s: %s", column.name, column.type)
            elif before[column.name] != column.type:
                self.log.info("Column %s: %s becomes %s", column.name, before[column.name], column.type)

    def log_schema_changes(self) -> None:
        """Log each column that is not as in the last run that succeeded."""
        for change in self._job.tally.receipt().schema_changes:
            if change.before is None:
                self.log.info("New column since the last run, %s: %s", change.column, change.after)
            elif change.after is None:
                self.log.info("No column %s in this run; the last one had it", change.column)
            else:
                self.log.info(
                    "Column %s since the last run: %s becomes %s", change.column, change.before, change.after
                )

    @contextmanager
    def errors_of(self, connector: str) -> Iterator[None]:
        """Translate errors: mask expected ones, and raise ConnectorCrashed for others.

        An error of `check` wins, whatever the connector made of it.
        """
        try:
            yield
        except Exception as error:
            if self._stopped is not None:
                raise self._stopped from None
            raise self._fit(error, connector) from None

    def _ask(self, question: Callable[[], None]) -> None:
        """Remember the error: a connector may swallow it."""
        try:
            question()
        except Exception as error:
            self._stopped = error
            raise

    def _fit(self, error: Exception, connector: str) -> HeadraceError:
        if isinstance(error, HeadraceError):
            rows = error.context.get("rows", "")
            self._job.tally.refused(int(rows) if rows.isdecimal() else 0)
            error.detail = self.masking.mask(error.detail)
            error.args = (error.detail,)
            return error
        if is_disk_full(error):
            return DiskFull(f"The disk was full while the connector {connector} was at work.")
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return ConnectorCrashed(f"The connector {connector} stopped with {type(error).__name__} at {where}.")
