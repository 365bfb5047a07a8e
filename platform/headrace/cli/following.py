"""The live progress of a run."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from headrace.cli.client import Client, Problem, Unreachable
from headrace.cli.console import ERR, duration_text, rows_text, run_time, size_text
from headrace.records import RunStatus

_POLL_SECONDS = 0.3
_PATIENCE_SECONDS = 60.0
_LINE_SECONDS = 5.0


def follow(client: Client, run_id: str) -> Mapping[str, Any]:
    """Show a run's rows, bytes, rate and elapsed time until it has ended; return the run.

    A terminal shows one line that changes; otherwise there is a line every 5 seconds. Both are on standard
    error. If the service does not respond, this waits up to a minute.
    """
    pace = _Pace()
    with ERR.status("pending") if ERR.is_terminal else nullcontext(_Lines()) as display:
        while True:
            run = _look(client, run_id)
            if RunStatus(run["status"]).is_terminal:
                return run
            display.update(pace.progress(run))
            time.sleep(_POLL_SECONDS)


def ending(run: Mapping[str, Any]) -> str:
    """Return a sentence on how a run ended."""
    took = f" in {time_taken}" if (time_taken := run_time(run)) else ""
    moved = f": {rows_text(run['rows'])}, {size_text(run['bytes'])}" if run.get("rows") is not None else ""
    reason = f". {run['error']}" if run.get("error") else ""
    return f"Run {run['id']} {run['status']}{took}{moved}{reason}"


class _Lines:
    """Replaces the changing line if there is no terminal."""

    def __init__(self) -> None:
        self._next = 0.0

    def update(self, status: str) -> None:
        if time.monotonic() >= self._next:
            ERR.print(status)
            self._next = time.monotonic() + _LINE_SECONDS


def _look(client: Client, run_id: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            run: Mapping[str, Any] = client.get(f"/api/pipelines/runs/{run_id}")
        except (Unreachable, Problem) as error:
            if (isinstance(error, Problem) and error.status != 503) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return run


class _Pace:
    """The rate of a run since it is watched, because its own start is known only to the second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_rows: int | None = None

    def progress(self, run: Mapping[str, Any]) -> str:
        """Return a line with the rows, bytes, rate and elapsed time."""
        elapsed, rows = time.monotonic() - self._began, run.get("rows") or 0
        if self._first_rows is None:
            self._first_rows = rows
        watched = rows - self._first_rows
        rate = f"{watched / elapsed:,.0f} rows/s" if watched else "-"
        moved = f"{rows_text(rows)}  {size_text(run.get('bytes'))}  {rate}"
        return f"{run['status']}  {moved}  {duration_text(elapsed)}"
