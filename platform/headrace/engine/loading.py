"""The second half of a run: load the destination from the output file, in one step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from headrace.connectors import LoadRequest, LoadResult, RunWarning, Stream, WriteDisposition
from headrace.engine.extraction import Extracted
from headrace.engine.job import EngineJob
from headrace.engine.keys import check_keys
from headrace.engine.reporting import Reporter
from headrace.engine.start import merges
from headrace.engine.tally import SumsDisagree, check_load
from headrace.engine.transforms.columns import renamed
from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.pipeline.document import PipelineConfig
from headrace.records import RunPhase

T = TypeVar("T")


class NoPrimaryKey(HeadraceError):
    """The rows lack a column of the primary key, on which they have to be merged."""

    code = "run.no_primary_key"
    title = "Primary key missing"
    hint = "Keep the key's columns in the transforms; a `columns` step may rename them, other steps may not."


@dataclass(frozen=True, kw_only=True)
class Load:
    """The result of a load."""

    location: str
    has_loaded: bool = True  # False: the destination's record is as it was


def loaded_before(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, extracted: Extracted
) -> Load | None:
    """Return the load of an earlier attempt of this run, if the destination has a record of it."""
    if not _is_there(config, job):
        return None
    reporter.log.info("An earlier attempt has loaded the destination")
    extracted.take_up(job)
    job.tally.loaded(LoadResult(rows=extracted.output.rows, location=config.destination_name))
    return Load(location=config.destination_name)


def load(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None, extracted: Extracted
) -> Load:
    """Load the destination and return where the data is; `stream` is None for a full refresh.

    Raises NoPrimaryKey, SumsDisagree and what the destination raises; not once the data is there.
    """
    output = extracted.output
    request = _request(config, job, reporter, stream, extracted)
    if stream is not None and output.rows == 0 and not extracted.start.replaces:
        return _nothing_new(config, job, reporter, extracted, request)
    if request.disposition == "merge":
        check_keys(output, request.primary_key)
    if output.rows == 0 and job.rows_before:
        detail = f"The stream is empty, and so is the table now; the last run wrote {job.rows_before:,} rows."
        reporter.warn(RunWarning(code="load.table_emptied", detail=detail))
    pa.default_memory_pool().release_unused()  # memory of the extraction must not add to that of the load
    reporter.progress(RunPhase.LOAD, 0, extracted.bytes)
    result = _loaded(config, job, reporter, request)
    reach("committed", job.pipeline_id)
    reporter.best_effort("Counting", lambda: _take(job, reporter, request, result), None)
    return Load(location=str(result.location))


def _nothing_new(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, extracted: Extracted, request: LoadRequest
) -> Load:
    """Leave the rows as they are. Have the destination store the cursor where its record has another one."""
    start, has_moved = extracted.start, False
    # A cursor that a client has set is in no record yet.
    if extracted.cursor != start.cursor or not start.continues:
        reporter.progress(RunPhase.LOAD, 0, extracted.bytes)
        has_moved = _committed(config, job, reporter, lambda: config.destination.advance(request), True)
    job.tally.loaded(LoadResult(rows=0, location=""))
    told = "has stored the new cursor" if has_moved else "stays as it is"
    reporter.best_effort("Logging", lambda: reporter.log.info("Nothing new: the destination %s", told), None)
    return Load(location="", has_loaded=has_moved)


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
    if disposition == "merge" and missing and extracted.output.rows:
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
        check_result=lambda result: check_load(extracted.output.rows, result, disposition),
        before_commit=before_commit,
        warn=reporter.warn,
        previous_load=start.previous_load,
        continues=start.continues,
        identity=start.identity,
        pipeline_name=job.pipeline_name or config.name,
        shared=config.shared,
        adopt=config.adopt,
    )


def _take(job: EngineJob, reporter: Reporter, request: LoadRequest, result: LoadResult) -> None:
    """Take the figures of a load that is there. Only a destination that was not asked before can be wrong."""
    job.tally.loaded(result)
    reporter.log.info("Loaded %s rows into %s", f"{result.rows:,}", result.location)
    try:
        check_load(request.output.rows, result, request.disposition)
    except SumsDisagree as error:
        reporter.warn(RunWarning(code="load.sums_disagree", detail=error.detail))


def _loaded(config: PipelineConfig, job: EngineJob, reporter: Reporter, request: LoadRequest) -> LoadResult:
    """Load the destination. Return what is known of the load where the destination does not say it."""
    known = LoadResult(rows=request.output.rows, location=config.destination_name)
    # A connector of a user's own may return anything.
    result: object = _committed(config, job, reporter, lambda: config.destination.load(request), known)
    if not isinstance(result, LoadResult):
        detail = f"The destination returned {type(result).__name__} in the place of the load's figures."
        reporter.warn(RunWarning(code="load.no_result", detail=detail))
        return known
    return result


def _committed(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, commit: Callable[[], T], known: T
) -> T:
    """Return what `commit` returns.

    An error after the commit is a warning: the destination says whether the load is there.
    """
    try:
        return commit()
    except Exception as error:
        if reporter.is_stopped or not reporter.best_effort("Asking", lambda: _is_there(config, job), False):
            raise
        detail = f"The destination failed with {type(error).__name__} after it had committed the load."
        reporter.warn(RunWarning(code="load.failed_after_commit", detail=detail))
        return known


def _is_there(config: PipelineConfig, job: EngineJob) -> bool:
    last = config.destination.last_load(job.pipeline_id)
    return last is not None and last.load_id == job.run_id
