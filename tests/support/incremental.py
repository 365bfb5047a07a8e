"""Incremental reads as a run makes them: the source's rows, less those that earlier reads have delivered."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from headrace.connectors import Checkpoint, ReadRequest, RunWarning, Source, SyncMode
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.cursors.boundary import Boundary


class Read:
    """One incremental read: its new rows, where it ended, and what it warned of."""

    def __init__(self, source: Source, stream: str, field: str, cursor: Any = None, **changes: Any) -> None:
        self.warnings: list[RunWarning] = []
        options = {name: changes.pop(name) for name in ("declared", "lookback", "merges") if name in changes}
        boundary = Boundary(
            field,
            cursor,
            inclusive=source.inclusive_reads,
            partial="max_iterations" in changes,
            warn=self.warnings.append,
            **options,
        )
        wanted = ReadRequest(
            stream=stream,
            sync_mode=SyncMode.INCREMENTAL,
            cursor_field=field,
            warn=self.warnings.append,
            **changes,
        )
        self.batches = list(_batches(source.read(boundary.request(wanted)), boundary))
        self.cursor = boundary.cursor()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The new rows."""
        return [row for batch in self.batches for row in batch.to_pylist()]

    @property
    def schema(self) -> pa.Schema:
        """What the rows' columns are."""
        return self.batches[0].schema if self.batches else pa.schema([])

    @property
    def value(self) -> Any:
        """The cursor's own value."""
        return self.cursor["value"] if isinstance(self.cursor, dict) else self.cursor

    @property
    def codes(self) -> list[str]:
        """What was warned of."""
        return [warning.code for warning in self.warnings]

    def column(self, name: str) -> list[Any]:
        """The new rows' values of a column."""
        return [value for batch in self.batches for value in batch.column(name).to_pylist()]


def _batches(items: Iterator[Any], boundary: Boundary) -> Iterator[pa.RecordBatch]:
    for item in items:
        if isinstance(item, Checkpoint):
            boundary.checkpoint(item)
        else:
            yield boundary.take(item if isinstance(item, pa.RecordBatch) else arrowize(list(item)))
