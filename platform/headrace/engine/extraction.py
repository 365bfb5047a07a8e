"""The first half of a run: read the source, transform its batches, write the output file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from headrace.connectors import Checkpoint, Cursor, Output, ReadRequest, Stream, cursor_text
from headrace.connectors.kit.arrow.json_text import JsonRecords
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.joining import joined
from headrace.engine.arrow.json_arrow import JsonArrow
from headrace.engine.cursors.boundary import Boundary
from headrace.engine.cursors.trial import Trial
from headrace.engine.job import EngineJob
from headrace.engine.output import OutputWriter, open_output
from headrace.engine.reporting import Reporter
from headrace.engine.start import Start, merges
from headrace.engine.transforms.steps import transformation
from headrace.failpoints import reach
from headrace.pipeline.document import PipelineConfig
from headrace.records import RunPhase

_RECORDS_AT_ONCE = 50_000


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """A finished output file and what the run knew when the source was read."""

    output: Output
    start: Start
    bytes: int  # of Arrow memory
    cursor: Cursor | None  # up to which the source was read
    state_version: str  # of the state that the source was read by
    figures: str = ""  # of the earlier attempt that has extracted it: a receipt, as JSON

    def take_up(self, job: EngineJob) -> None:
        """Have the run count on from what the earlier attempt has counted."""
        job.tally.restore(self.figures)
        job.tally.written(self.output.rows, self.output.schema, self.cursor)


def extracted_before(job: EngineJob) -> Extracted | None:
    """Return what an earlier attempt of this run extracted: its file is there whole or not at all.

    The earlier attempt's own start counts: what a client has demanded since is for the run that reads the
    source next.
    """
    if not job.output_path.exists():
        return None
    output, notes = open_output(job.output_path)
    if "start" not in notes:  # an older release has written it
        job.output_path.unlink()
        return None
    return Extracted(
        output=output,
        start=Start(**json.loads(notes["start"])),
        bytes=int(notes["bytes"]),
        cursor=json.loads(notes["cursor"]),
        state_version=notes["state"],
        figures=notes["receipt"],
    )


def resumed(job: EngineJob, reporter: Reporter, before: Extracted | None, start: Start) -> Extracted | None:
    """Return an earlier attempt's extraction. Delete it if the pipeline's config has changed since."""
    if before is None:
        return None
    if before.start.identity != start.identity:
        job.output_path.unlink()
        return None
    reporter.log.info("An earlier attempt has read the source: going on from its file")
    before.take_up(job)
    return before


def extract(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None, start: Start
) -> Extracted:
    """Read from the start on into the output file; `stream` is None for a full refresh."""
    cursor = start.cursor
    boundary = _boundary(config, reporter, stream, cursor)
    request = ReadRequest(
        stream=config.stream,
        sync_mode=config.sync_mode,
        cursor_field=_cursor_field(config, stream),
        max_iterations=config.max_iterations,
        log=reporter.log,
        check=reporter.check,
        warn=reporter.warn,
    )
    job.tally.begin(cursor, job.schema_before, job.known_columns)
    if cursor is not None:
        reporter.log.info("Reading what comes after the last cursor")
    with OutputWriter(job.output_path, reporter.new_schema, parts=job.scratch) as writer:
        trial = Trial(config.max_iterations, reporter.warn)
        reached = _write(config, job, reporter, writer, boundary.request(request), boundary, trial)
        if stream is not None and trial.is_cut:
            reached = trial.reached(start.cursor, writes=writer.rows > 0, merges=merges(config, stream))
        notes = {
            "bytes": str(writer.bytes),
            "cursor": cursor_text(reached),
            "start": json.dumps(asdict(start)),
            "receipt": job.tally.receipt().as_json(),
            "state": job.state.version,
        }
        output = writer.finish(notes, publishing=lambda: reach("publishing", job.pipeline_id))
        job.tally.written(output.rows, output.schema, reached)
    reach("written", job.pipeline_id)
    reporter.progress(RunPhase.EXTRACT, writer.rows, writer.bytes)
    reporter.log.info("Extracted %s rows into %s bytes of Parquet", f"{output.rows:,}", f"{output.size:,}")
    return Extracted(
        output=output,
        start=start,
        bytes=writer.bytes,
        cursor=reached,
        state_version=job.state.version,
    )


def _cursor_field(config: PipelineConfig, stream: Stream | None) -> str | None:
    return config.cursor_field or (stream.cursor_field if stream else None)


def _boundary(
    config: PipelineConfig, reporter: Reporter, stream: Stream | None, cursor: Cursor | None
) -> Boundary:
    follows_field = stream is not None and not stream.checkpointed
    return Boundary(
        _cursor_field(config, stream) if follows_field else None,
        cursor,
        declared=config.cursor_type,
        lookback=config.lookback,
        merges=stream is not None and merges(config, stream),
        inclusive=config.source.inclusive_reads,
        partial=config.max_iterations is not None,
        warn=reporter.warn,
        log=reporter.log,
    )


def _write(
    config: PipelineConfig,
    job: EngineJob,
    reporter: Reporter,
    writer: OutputWriter,
    request: ReadRequest,
    boundary: Boundary,
    trial: Trial,
) -> Cursor | None:
    """Write the stream's new rows, each batch after the pipeline's transforms; return where they end."""
    steps = transformation(
        config.transforms, check=reporter.check, known=job.known_columns, named=job.tally.named
    )
    with steps as transformed:
        for batch in _batches(config, trial.items(config.source.read(request)), boundary):
            reporter.check()
            new = boundary.take(batch)  # as the source gave it: a step may drop the field, or the row
            job.tally.read(batch.num_rows, new=new.num_rows)
            rows = 0
            for changed in transformed(new):
                writer.add(changed)
                rows += changed.num_rows
            job.tally.transformed(new.num_rows, rows)
            reach("extracting", job.pipeline_id)
            reporter.progress(RunPhase.EXTRACT, writer.rows, writer.bytes)
    reporter.check()
    reached = boundary.cursor()
    reach("writing", job.pipeline_id)
    return reached


def _batches(config: PipelineConfig, items: Iterator[Any], boundary: Boundary) -> Iterator[pa.RecordBatch]:
    json_arrow = JsonArrow()
    # Transforms see each page with its own types: joined to a page with text, a number would be text.
    for item in items if config.transforms else joined(items):
        if isinstance(item, Checkpoint):
            boundary.checkpoint(item)
        elif isinstance(item, JsonRecords) and not config.transforms:
            yield json_arrow.batch(item)
        elif isinstance(item, list | JsonRecords):
            for start in range(0, len(item), _RECORDS_AT_ONCE):
                yield arrowize(item[start : start + _RECORDS_AT_ONCE])
        else:
            yield item
