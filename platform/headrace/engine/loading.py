"""The second half of a run: load the destination from the output file, in one step."""

from dataclasses import dataclass

import pyarrow as pa

from headrace.connectors import LoadRequest, LoadResult, RunWarning, Stream, WriteDisposition
from headrace.engine.extraction import Extracted
from headrace.engine.job import EngineJob
from headrace.engine.reporting import Reporter
from headrace.engine.start import merges
from headrace.engine.tally import check_load
from headrace.engine.transforms.columns import renamed
from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.pipeline.document import PipelineConfig
from headrace.records import RunPhase


class NoPrimaryKey(HeadraceError):
    """The rows lack a column of the primary key, on which they have to be merged."""

    code = "run.no_primary_key"
    title = "Primary key missing"
    hint = "Keep the key's columns in the transforms; a `columns` step may rename them, other steps may not."


@dataclass(frozen=True, kw_only=True)
class Load:
    """The result of a load."""

    location: str
    has_loaded: bool = True  # False: there was nothing new


def loaded_before(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, extracted: Extracted
) -> Load | None:
    """Return the load of an earlier attempt of this run, if the destination has a record of it."""
    if not extracted.resumed or not _is_there(config, job):
        return None
    reporter.log.info("An earlier attempt has loaded the destination")
    job.tally.loaded(LoadResult(rows=extracted.output.rows, location=config.destination_name))
    return Load(location=config.destination_name)


def load(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None, extracted: Extracted
) -> Load:
    """Load the destination and return where the data is; `stream` is None for a full refresh.

    Raises NoPrimaryKey, SumsDisagree and what the destination raises; not once the data is there.
    """
    output, start = extracted.output, extracted.start
    if stream is not None and output.rows == 0 and not start.replaces:
        reporter.log.info("Nothing new: the destination stays as it is")
        job.tally.loaded(LoadResult(rows=0, location=""))
        return Load(location="", has_loaded=False)
    request = _request(config, job, reporter, stream, extracted)
    if output.rows == 0 and job.rows_before:
        detail = f"The stream is empty, and so is the table now; the last run wrote {job.rows_before:,} rows."
        reporter.warn(RunWarning(code="load.table_emptied", detail=detail))
    pa.default_memory_pool().release_unused()  # memory of the extraction must not add to that of the load
    reporter.progress(RunPhase.LOAD, 0, extracted.bytes)
    result = _loaded(config, job, reporter, request)
    reach("committed", job.pipeline_id)
    job.tally.loaded(result)
    told = "Loaded %s rows into %s", f"{result.rows:,}", result.location
    reporter.best_effort("Logging", lambda: reporter.log.info(*told), None)
    check_load(job.tally.receipt(), request.disposition)
    return Load(location=result.location)


def _request(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None, extracted: Extracted
) -> LoadRequest:
    start = extracted.start
    keys = renamed(stream.primary_key, config.transforms) if stream else ()
    disposition: WriteDisposition = "append"
    if stream is None or start.replaces:
        disposition = "replace"
    elif merges(config, stream):
        disposition = "merge"
    missing = [name for name in keys if name not in extracted.output.schema.names]
    if disposition == "merge" and missing:
        raise NoPrimaryKey(f"The rows have no column {missing[0]!r} to be merged on.")

    def before_commit() -> None:
        reporter.check_before_commit()
        reach("loaded", job.pipeline_id)

    return LoadRequest(
        output=extracted.output,
        table=config.stream,
        disposition=disposition,
        incremental=stream is not None,
        primary_key=keys,
        pipeline_id=job.pipeline_id,
        load_id=job.run_id,
        fence=job.fence,
        cursor=extracted.cursor,
        schema_contract=config.schema_contract,
        log=reporter.log,
        progress=lambda rows: reporter.progress(RunPhase.LOAD, rows, extracted.bytes),
        before_commit=before_commit,
        warn=reporter.warn,
        previous_load=start.previous_load,
        continues=start.continues,
        identity=start.identity,
        pipeline_name=job.pipeline_name or config.name,
        shared=config.shared,
        adopt=config.adopt,
    )


def _loaded(config: PipelineConfig, job: EngineJob, reporter: Reporter, request: LoadRequest) -> LoadResult:
    """Load. An error after the commit is a warning: the destination says whether the data is there."""
    try:
        return config.destination.load(request)
    except Exception as error:
        if reporter.is_stopped or not reporter.best_effort("Asking", lambda: _is_there(config, job), False):
            raise
        detail = f"The destination failed with {type(error).__name__} after it had committed the load."
        reporter.warn(RunWarning(code="load.failed_after_commit", detail=detail))
        return LoadResult(rows=request.output.rows, location=config.destination_name)


def _is_there(config: PipelineConfig, job: EngineJob) -> bool:
    last = config.destination.last_load(job.pipeline_id)
    return last is not None and last.load_id == job.run_id
