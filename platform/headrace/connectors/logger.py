"""The run's own log as a destination: shows what a source yields, and stores nothing."""

from typing import ClassVar

from pydantic import Field

from headrace.connectors import Destination, LoadRequest, LoadResult, WriteDisposition
from headrace.connectors.kit.arrow.rendering import json_lines


class LoggerDestination(Destination):
    """Writes the first rows into the run's log."""

    name: ClassVar[str] = "logger"
    title: ClassVar[str] = "Log"
    summary: ClassVar[str] = "The first rows, in the run's log."
    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace",)

    rows: int = Field(10, ge=0, le=1000, description="How many rows to log.")

    def load(self, request: LoadRequest) -> LoadResult:
        """Log the first rows, one line each."""
        left = self.rows
        for batch in request.output.batches(self.rows or 1):
            for line in json_lines(batch.slice(0, left)).splitlines():
                request.log.info("%s", line.decode())
            left -= min(left, batch.num_rows)
            if left == 0:
                break
        request.before_commit()
        return LoadResult(rows=request.output.rows, location="the log")
