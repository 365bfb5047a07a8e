"""One run of a pipeline: extract into the output file, then load the destination from it.

A run that fails publishes nothing: the destination is loaded only from a finished file, in one step. The
cursor that it stores is the highest that was read into that file, so a failed run moves no cursor.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.connectors import Cursor, SyncMode
from headrace.engine.extraction import Extracted, extract, resumed
from headrace.engine.job import EngineJob, EngineResult
from headrace.engine.loading import load, loaded_before
from headrace.engine.preview import preview
from headrace.engine.reporting import Reporter
from headrace.masking import MaskingFilter
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.secrets import secret_values

_ALLOCATIONS = 100_000  # of containers, between two collections of cycles


def run_pipeline(config: PipelineConfig, job: EngineJob) -> EngineResult:
    """Move the stream's rows to the destination.

    Raises what `job.check` raises, and otherwise a HeadraceError whose text holds no secret.
    """
    with _rare_collections():
        return _run(config, job, Reporter(job, MaskingFilter(secret_values(config))))


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect cycles more rarely: pages of records have none, and looking for them doubles their cost."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(config: PipelineConfig, job: EngineJob, reporter: Reporter) -> EngineResult:
    incremental = config.sync_mode is SyncMode.INCREMENTAL
    reporter.log.info(
        "Starting %s: %s to %s, stream %s, %s",
        config.name,
        config.source_name,
        config.destination_name,
        config.stream,
        config.sync_mode,
    )
    with reporter.errors_of(config.destination_name):
        cursor = _last_cursor(config, job, reporter) if incremental else None
    with reporter.errors_of(config.source_name):
        stream = config.source.describe(config.stream) if incremental else None
        extracted = resumed(job, reporter) or extract(config, job, reporter, stream, cursor)
    with reporter.errors_of(config.destination_name):
        location = loaded_before(config, job, reporter, extracted) or load(
            config, job, reporter, stream, extracted
        )
    return _result(extracted, location, reporter)


def _last_cursor(config: PipelineConfig, job: EngineJob, reporter: Reporter) -> Cursor | None:
    """Return after what to read: what a client demands, what the destination holds, what we remember."""
    if job.state.demand is not None:
        reporter.log.info("The state was %s by a client", job.state.demand)
        return job.state.cursor
    last = config.destination.last_load(job.pipeline_id)
    return last.cursor if last else job.state.cursor


def _result(extracted: Extracted, location: str, reporter: Reporter) -> EngineResult:
    output = extracted.output
    reporter.log.info(
        "Finished in %.1f s: %s rows, %s bytes, %s rows a second",
        reporter.seconds,
        f"{output.rows:,}",
        f"{extracted.bytes:,}",
        reporter.rate(output.rows),
    )
    return EngineResult(
        rows=output.rows,
        bytes=extracted.bytes,
        output_size=output.size,
        schema=output.schema,
        location=reporter.masking.mask(location),
        cursor=extracted.cursor,
        state_version=extracted.state_version,
        preview=preview(output, reporter.masking),
    )
