"""One run of a pipeline: extract into the output file, then load the destination from it.

A run that fails publishes nothing: the destination is loaded only from a finished file, in one step. The
cursor that it stores is the highest that was read into that file, so a failed run moves no cursor.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.connectors import MovedOn, SyncMode
from headrace.engine.extraction import Extracted, extract, extracted_before, resumed
from headrace.engine.job import EngineJob, EngineResult
from headrace.engine.loading import Load, load, loaded_before
from headrace.engine.output import PublishedBefore
from headrace.engine.preview import Preview, preview
from headrace.engine.reporting import Reporter
from headrace.engine.start import start_of
from headrace.masking import MaskingFilter
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.secrets import secret_values

_ALLOCATIONS = 100_000  # of containers, between two collections of cycles
_MOVES = 3  # how often a run begins again because another load or another attempt came between


def run_pipeline(config: PipelineConfig, job: EngineJob) -> EngineResult:
    """Move the stream's rows to the destination.

    Raises what `job.check` raises, and otherwise a HeadraceError whose text holds no secret.
    """
    reporter = Reporter(job, MaskingFilter(secret_values(config)))
    with _rare_collections():
        try:
            return _run(config, job, reporter)
        finally:
            reporter.best_effort("Logging", lambda: job.tally.log_warnings(reporter.log), None)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Run the garbage collector less often: pages of records have no cycles, but it doubles their cost."""
    before = gc.get_threshold()
    gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(config: PipelineConfig, job: EngineJob, reporter: Reporter) -> EngineResult:
    reporter.log.info(
        "Starting %s: %s to %s, stream %s, %s",
        config.name,
        config.source_name,
        config.destination_name,
        config.stream,
        config.sync_mode,
    )
    for _ in range(_MOVES):
        try:
            return _moved(config, job, reporter)
        except PublishedBefore:
            reporter.check_before_commit()  # only one of two attempts goes on, from the file that is there
        except MovedOn:
            reporter.log.info("Another load came between: reading again from the cursor that it has stored")
            reporter.check_before_commit()  # the file may be that of an attempt that has taken over
            job.output_path.unlink(missing_ok=True)
    return _moved(config, job, reporter)


def _moved(config: PipelineConfig, job: EngineJob, reporter: Reporter) -> EngineResult:
    """Extract, then load. Raises MovedOn where the destination's record has changed in between."""
    before = extracted_before(job)
    if before is not None:
        # First of all: a source that is away must not fail a run whose data is there.
        with reporter.errors_of(config.destination_name):
            done = loaded_before(config, job, reporter, before)
        if done is not None:
            return _result(job, reporter, before, done, _previewed(before, reporter))
    with reporter.errors_of(config.source_name):
        is_incremental = config.sync_mode is SyncMode.INCREMENTAL
        stream = config.source.describe(config.stream) if is_incremental else None
    with reporter.errors_of(config.destination_name):
        start = start_of(config, job, reporter, stream)
    with reporter.errors_of(config.source_name):
        extracted = resumed(job, reporter, before, start) or extract(config, job, reporter, stream, start)
    rows = _previewed(extracted, reporter)  # before the load: nothing after its commit may fail the run
    reporter.log_schema_changes()
    with reporter.errors_of(config.destination_name):
        done = load(config, job, reporter, stream, extracted)
    reporter.best_effort("Logging", lambda: _log(extracted, reporter), None)
    return _result(job, reporter, extracted, done, rows)


def _previewed(extracted: Extracted, reporter: Reporter) -> Preview:
    nothing: Preview = []
    return reporter.best_effort("The preview", lambda: preview(extracted.output, reporter.masking), nothing)


def _result(
    job: EngineJob, reporter: Reporter, extracted: Extracted, done: Load, rows: Preview
) -> EngineResult:
    return EngineResult(
        rows=extracted.output.rows,
        bytes=extracted.bytes,
        output_size=extracted.output.size,
        schema=extracted.output.schema,
        location=reporter.masking.mask(done.location),
        cursor=extracted.cursor,
        identity=extracted.start.identity,
        has_loaded=done.has_loaded,
        state_version=extracted.state_version,
        receipt=job.tally.receipt(),
        preview=rows,
    )


def _log(extracted: Extracted, reporter: Reporter) -> None:
    reporter.log.info(
        "Finished in %.1f s: %s rows, %s bytes, %s rows a second",
        reporter.seconds,
        f"{extracted.output.rows:,}",
        f"{extracted.bytes:,}",
        reporter.rate(extracted.output.rows),
    )
