"""One run of a pipeline: extract into the output file, then load the destination from it.

A run that fails publishes nothing: the destination is loaded only from a finished file, in one step. The
cursor that it stores is the highest that was read into that file, so a failed run moves no cursor.
"""

import gc
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from headrace.connectors import (
    Checkpoint,
    Cursor,
    LoadRequest,
    LoadResult,
    Output,
    ReadRequest,
    Stream,
    SyncMode,
    WriteDisposition,
    cursor_text,
)
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.engine.arrowize import arrowize
from headrace.engine.columns import renamed
from headrace.engine.cursors import HighestCursor
from headrace.engine.joining import joined
from headrace.engine.json_arrow import JsonArrow
from headrace.engine.output import OutputWriter, open_output
from headrace.engine.transforms import transformation
from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.masking import MaskingFilter, masked_logger
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.secrets import secret_values
from headrace.records import State, StateDemand

Phase = Literal["extract", "load"]
_LOG_SECONDS = 5.0
_LOG_SHARE = 10  # lines of progress come the further apart the longer the run: ten hours write some 80
_PREVIEW_ROWS = 10
_PREVIEW_CHARACTERS = 200
_RECORDS_AT_ONCE = 50_000
_ALLOCATIONS = 100_000  # of containers, between two looks for cycles


class ConnectorCrashed(HeadraceError):
    """A connector raised an error that it does not foresee; its text may hold secrets and is withheld."""

    code = "connector.crashed"
    title = "Connector crashed"
    hint = "This is a fault of the connector. Report it with the place that the message names."


class NoPrimaryKey(HeadraceError):
    """The rows lack a column of the primary key that they would be merged on."""

    code = "run.no_primary_key"
    title = "Primary key missing"
    hint = "Keep the key's columns in the transforms; a `columns` step may rename them, other steps may not."


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    phase: Phase
    rows: int  # extracted, or loaded, so far
    bytes: int  # of Arrow memory extracted so far


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """What a run works with and whom it tells."""

    output_path: Path
    pipeline_id: str
    run_id: str
    log: logging.Logger
    state: State = field(
        default_factory=State
    )  # the platform's; the destination's own record, where it keeps one, comes first
    progress: Callable[[Progress], None] = lambda progress: None
    check: Callable[[], None] = lambda: None
    """Raises when the run was cancelled or is no longer this worker's. Its error leaves `run_pipeline`
    unchanged, whatever a connector makes of it. Called between batches."""
    before_commit: Callable[[], None] = lambda: None
    """Like `check`, called right before the commit: it may take its time to be sure."""


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """What a run did."""

    rows: int
    bytes: int  # of Arrow memory
    output_size: int  # of the file, in bytes
    schema: pa.Schema
    location: str  # where the data is now, for people
    cursor: Cursor | None  # stored with the data
    state_version: str  # of the state that the source was read by
    preview: list[dict[str, str | None]]  # the first rows, as masked text


def run_pipeline(config: PipelineConfig, job: EngineJob) -> EngineResult:
    """Move the stream's rows to the destination.

    Raises what `job.check` raises, and otherwise a HeadraceError whose text holds no secret.
    """
    with _rare_collections():
        return _Run(config, job).run()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cycles more rarely: pages of records have none, and the looks double their cost."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass
class _Run:
    config: PipelineConfig
    job: EngineJob
    stopped: Exception | None = None
    resumed: bool = False  # an earlier attempt has written the output file
    demand: str = ""  # what a client wanted when the source was read
    state_version: str = ""
    extracted: int = 0  # bytes of Arrow memory
    started: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.masking = MaskingFilter(secret_values(self.config))
        self.log = masked_logger(self.job.log, self.masking)
        self.demand, self.state_version = self.job.state.demand or "", self.job.state.version

    def run(self) -> EngineResult:
        config, incremental = self.config, self.config.sync_mode is SyncMode.INCREMENTAL
        self.log.info(
            "Starting %s: %s to %s, stream %s, %s",
            config.name,
            config.source_name,
            config.destination_name,
            config.stream,
            config.sync_mode,
        )
        with self._errors(config.destination_name):
            cursor = self._last_cursor() if incremental else None
        with self._errors(config.source_name):
            stream = config.source.describe(config.stream) if incremental else None
            output, self.extracted, cursor = self._resumed() or self._extract(stream, cursor)
        with self._errors(config.destination_name):
            location = self._loaded() or self._load(output, stream, cursor)
        self.log.info(
            "Finished in %.1f s: %s rows, %s bytes, %s rows a second",
            time.monotonic() - self.started,
            f"{output.rows:,}",
            f"{self.extracted:,}",
            self._rate(output.rows),
        )
        return EngineResult(
            rows=output.rows,
            bytes=self.extracted,
            output_size=output.size,
            schema=output.schema,
            location=self.masking.mask(location),
            cursor=cursor,
            state_version=self.state_version,
            preview=self._preview(output),
        )

    def _last_cursor(self) -> Cursor | None:
        """Return after what to read: what a client demands, what the destination holds, what we remember."""
        state = self.job.state
        if state.demand is not None:
            self.log.info("The state was %s by a client", state.demand)
            return state.cursor
        last = self.config.destination.last_load(self.job.pipeline_id)
        return last.cursor if last else state.cursor

    def _resumed(self) -> tuple[Output, int, Cursor | None] | None:
        """Return what an earlier attempt of this run extracted: its file is there whole or not at all."""
        if not self.job.output_path.exists():
            return None
        self.resumed = True
        self.log.info("An earlier attempt has read the source: going on from its file")
        output, notes = open_output(self.job.output_path)
        # What a client has demanded since is for the run that reads the source next.
        self.demand, self.state_version = notes["demand"], notes["state"]
        return output, int(notes["bytes"]), json.loads(notes["cursor"])

    def _loaded(self) -> str | None:
        """Return where an earlier attempt of this run has put the data, which only the destination knows."""
        if not self.resumed:
            return None
        last = self.config.destination.last_load(self.job.pipeline_id)
        if last is None or last.load_id != self.job.run_id:
            return None
        self.log.info("An earlier attempt has loaded the destination")
        return self.config.destination_name

    def _extract(self, stream: Stream | None, cursor: Cursor | None) -> tuple[Output, int, Cursor | None]:
        cursor_field = self.config.cursor_field or (stream.cursor_field if stream else None)
        follows_field = stream is not None and not stream.checkpointed
        highest = HighestCursor(cursor_field if follows_field else None, cursor)
        request = ReadRequest(
            stream=self.config.stream,
            sync_mode=self.config.sync_mode,
            cursor_field=cursor_field,
            cursor=cursor,
            max_iterations=self.config.max_iterations,
            log=self.log,
            check=self.check,
        )
        if cursor is not None:
            self.log.info("Reading what comes after the last cursor")
        steps = transformation(self.config.transforms, check=self.check, log=self.log)
        with OutputWriter(self.job.output_path, self._log_new_schema) as writer:
            with steps as transformed:
                for batch in self._batches(request, highest):
                    self.check()
                    highest.see(batch)  # as the source gave it: a step may drop the field, or the row
                    for changed in transformed(batch):
                        writer.add(changed)
                    reach("extracting", self.job.pipeline_id)
                    self._report("extract", writer.rows, writer.bytes)
            self.check()
            reach("writing", self.job.pipeline_id)
            output = writer.finish(
                {
                    "bytes": str(writer.bytes),
                    "cursor": cursor_text(highest.value),
                    "demand": self.demand,
                    "state": self.state_version,
                }
            )
        reach("written", self.job.pipeline_id)
        self.job.progress(Progress(phase="extract", rows=writer.rows, bytes=writer.bytes))
        self.log.info("Extracted %s rows into %s bytes of Parquet", f"{output.rows:,}", f"{output.size:,}")
        return output, writer.bytes, highest.value

    def _batches(self, request: ReadRequest, highest: HighestCursor) -> Iterator[pa.RecordBatch]:
        items = _limited(self.config.source.read(request), request.max_iterations)
        json_arrow = JsonArrow()
        # A step sees a number as its page has it: joined to a page with text there, it would be text.
        for item in items if self.config.transforms else joined(items):
            if isinstance(item, Checkpoint):
                highest.value = item.cursor
            elif isinstance(item, JsonRecords) and not self.config.transforms:
                yield json_arrow.batch(item)
            elif isinstance(item, list | JsonRecords):
                for start in range(0, len(item), _RECORDS_AT_ONCE):
                    yield arrowize(item[start : start + _RECORDS_AT_ONCE])
            else:
                yield item

    def _load(self, output: Output, stream: Stream | None, cursor: Cursor | None) -> str:
        destination = self.config.destination
        is_reset = self.demand == StateDemand.RESET
        if stream is not None and output.rows == 0 and not is_reset:
            self.log.info("Nothing new: the destination stays as it is")
            return ""
        keys = renamed(stream.primary_key, self.config.transforms) if stream else ()
        disposition = "replace" if is_reset else _disposition(self.config, keys)
        missing = [name for name in keys if name not in output.schema.names]
        if disposition == "merge" and missing:
            raise NoPrimaryKey(f"The rows have no column {missing[0]!r} to be merged on.")
        request = LoadRequest(
            output=output,
            table=self.config.stream,
            disposition=disposition,
            incremental=stream is not None,
            primary_key=keys,
            pipeline_id=self.job.pipeline_id,
            load_id=self.job.run_id,
            cursor=cursor,
            schema_contract=self.config.schema_contract,
            log=self.log,
            progress=lambda rows: self._report("load", rows, self.extracted),
            before_commit=self._before_commit,
        )
        pa.default_memory_pool().release_unused()  # what extracting took does not add to what loading takes
        self.job.progress(Progress(phase="load", rows=0, bytes=self.extracted))
        result: LoadResult = destination.load(request)
        reach("committed", self.job.pipeline_id)
        self.log.info("Loaded %s rows into %s", f"{result.rows:,}", result.location)
        return result.location

    def _before_commit(self) -> None:
        self.check(self.job.before_commit)
        reach("loaded", self.job.pipeline_id)

    def _preview(self, output: Output) -> list[dict[str, str | None]]:
        """Return the first rows, as text that is masked: it may be kept where a secret may not."""
        for batch in output.batches(_PREVIEW_ROWS):
            texts = [[_short(value) for value in column] for column in batch.columns]
            masked = [
                [text and self.masking.mask(text)[:_PREVIEW_CHARACTERS] for text in column]
                for column in texts
            ]
            return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*masked, strict=True)]
        return []

    def check(self, ask: Callable[[], None] | None = None) -> None:
        """Ask whether to go on, and keep the answer: a connector may hide the error that this raises."""
        try:
            (ask or self.job.check)()
        except Exception as error:
            self.stopped = error
            raise

    def _report(self, phase: Phase, rows: int, size: int) -> None:
        self.job.progress(Progress(phase=phase, rows=rows, bytes=size))
        now = time.monotonic()
        if now - self.reported >= max(_LOG_SECONDS, (now - self.started) / _LOG_SHARE):
            self.reported = now
            done = "read" if phase == "extract" else "loaded"
            self.log.info("%s rows %s, %s a second since the start", f"{rows:,}", done, self._rate(rows))

    def _rate(self, rows: int) -> str:
        return f"{rows / max(time.monotonic() - self.started, 0.001):,.0f}"

    def _log_new_schema(self, old: pa.Schema, new: pa.Schema) -> None:
        before = {column.name: column.type for column in old}
        for column in new:
            if column.name not in before:
                self.log.info("New column %s: %s", column.name, column.type)
            elif before[column.name] != column.type:
                self.log.info("Column %s: %s becomes %s", column.name, before[column.name], column.type)

    @contextmanager
    def _errors(self, connector: str) -> Iterator[None]:
        """Let out the check's own error first, then foreseen errors with masked text, and nothing else."""
        try:
            yield
        except Exception as error:
            if self.stopped is not None:
                raise self.stopped from None
            raise self._fit(error, connector) from None

    def _fit(self, error: Exception, connector: str) -> HeadraceError:
        if isinstance(error, HeadraceError):
            error.detail = self.masking.mask(error.detail)
            error.args = (error.detail,)
            return error
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return ConnectorCrashed(f"The connector {connector} stopped with {type(error).__name__} at {where}.")


def _limited(items: Iterator[Any], most: int | None) -> Iterator[Any]:
    """Yield at most so many batches, and the checkpoints among them."""
    batches = 0
    for item in items:
        if not isinstance(item, Checkpoint):
            if most is not None and batches >= most:
                return  # only here: the checkpoint of the last batch comes after it
            batches += 1
        yield item


def _disposition(config: PipelineConfig, keys: tuple[str, ...]) -> WriteDisposition:
    if config.sync_mode is SyncMode.FULL_REFRESH:
        return "replace"
    return "merge" if keys and "merge" in config.destination.dispositions else "append"


def _short(value: pa.Scalar) -> str | None:
    try:
        plain = value.as_py()
    except (OverflowError, ValueError):  # a time that Python's calendar does not reach
        plain = value.cast(pa.string()).as_py()
    return None if plain is None else str(plain)
