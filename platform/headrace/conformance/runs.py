"""Runs of the real engine for the suite: any source into a destination that only listens."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pyarrow.parquet as pq
from pydantic import PrivateAttr

from headrace.conformance.cases import NotApplicable, SourceCase
from headrace.connectors import Cursor, Destination, LoadRequest, LoadResult, Stream, SyncMode
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import parse_config
from headrace.records import State

Row = Mapping[str, Any]
_PIPELINE = {
    "name": "conformance",
    "source": {"name": "dummy", "stream": "creatures"},
    "destination": {"name": "logger"},
}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a run brought."""

    rows: Sequence[Row]
    cursor: Cursor | None


class Listener(Destination):
    """Keeps nothing but what it was asked to load."""

    name: ClassVar[str] = "listener"
    title: ClassVar[str] = "Listener"

    _requests: list[LoadRequest] = PrivateAttr(default_factory=list)

    @property
    def requests(self) -> Sequence[LoadRequest]:
        """The loads that were committed."""
        return self._requests

    def load(self, request: LoadRequest) -> LoadResult:
        """Note the request."""
        request.before_commit()
        self._requests.append(request)
        return LoadResult(rows=request.output.rows, location="nowhere")


@dataclass(kw_only=True)
class Attempt:
    """One run of a case, which may be looked at when it has failed."""

    case: SourceCase
    folder: Path
    incremental: bool = False
    cursor: Cursor | None = None
    check: Callable[[], None] = lambda: None
    destination: Listener = field(default_factory=Listener)

    def __post_init__(self) -> None:
        self.output_path = self.folder / f"{uuid4().hex}.parquet"

    def finish(self) -> Finished:
        """Carry the run out. Raises what the engine raises."""
        # Checked as any pipeline, then given the case's own connector.
        config = replace(
            parse_config(_PIPELINE),
            source=self.case.connector,
            source_name=self.case.connector.name,
            stream=self.case.stream,
            sync_mode=SyncMode.INCREMENTAL if self.incremental else SyncMode.FULL_REFRESH,
            cursor_field=self.case.cursor_field,
            destination=self.destination,
        )
        job = EngineJob(
            output_path=self.output_path,
            pipeline_id="conformance",
            run_id=uuid4().hex,
            log=logging.getLogger("headrace.conformance"),
            state=State(cursor=self.cursor),
            check=self.check,
        )
        result = run_pipeline(config, job)
        return Finished(rows=pq.read_table(self.output_path).to_pylist(), cursor=result.cursor)


def full(case: SourceCase, folder: Path) -> Finished:
    """Read the whole stream."""
    return Attempt(case=case, folder=folder).finish()


def incremental(case: SourceCase, folder: Path, cursor: Cursor | None = None) -> Finished:
    """Read what comes after a cursor. Raises NotApplicable where the stream cannot be read so."""
    syncing(case)
    return Attempt(case=case, folder=folder, incremental=True, cursor=cursor).finish()


def syncing(case: SourceCase) -> Stream:
    """Return the stream as one that can be read incrementally. Raises NotApplicable where it cannot."""
    stream = case.connector.describe(case.stream)
    if SyncMode.INCREMENTAL not in stream.sync_modes:
        raise NotApplicable("the stream is read as a whole only")
    if stream.cursor_field is None and case.cursor_field is None and not stream.checkpointed:
        raise NotApplicable("no field to sync by was named")
    return stream


def missing(expected: Iterable[Row], found: Iterable[Row], key: Sequence[str]) -> int:
    """Count the rows that were expected and not found: by their key, or as a whole where there is none.

    Whole rows are compared as text, since a column's type may follow what else is in the file.
    """
    left = Counter(_identity(row, key) for row in expected)
    left.subtract(Counter(_identity(row, key) for row in found))
    return sum(count for count in left.values() if count > 0)


def _identity(row: Row, key: Sequence[str]) -> str:
    values = {name: row.get(name) for name in key} if key else row
    present = {name: str(value) for name, value in values.items() if value is not None}
    return json.dumps(present, sort_keys=True)
