"""The second half of a run: load the destination from the output file, in one step."""

import pyarrow as pa

from headrace.connectors import LoadRequest, Stream, SyncMode, WriteDisposition
from headrace.engine.columns import renamed
from headrace.engine.extraction import Extracted
from headrace.engine.job import EngineJob
from headrace.engine.reporting import Reporter
from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.pipeline.document import PipelineConfig
from headrace.records import RunPhase, StateDemand


class NoPrimaryKey(HeadraceError):
    """The rows lack a column of the primary key that they would be merged on."""

    code = "run.no_primary_key"
    title = "Primary key missing"
    hint = "Keep the key's columns in the transforms; a `columns` step may rename them, other steps may not."


def loaded_before(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, extracted: Extracted
) -> str | None:
    """Return where an earlier attempt of this run has put the data, which only the destination knows."""
    if not extracted.resumed:
        return None
    last = config.destination.last_load(job.pipeline_id)
    if last is None or last.load_id != job.run_id:
        return None
    reporter.log.info("An earlier attempt has loaded the destination")
    return config.destination_name


def load(
    config: PipelineConfig, job: EngineJob, reporter: Reporter, stream: Stream | None, extracted: Extracted
) -> str:
    """Load the destination and return where the data is; `stream` is None for a full refresh."""
    output, is_reset = extracted.output, extracted.demand == StateDemand.RESET
    if stream is not None and output.rows == 0 and not is_reset:
        reporter.log.info("Nothing new: the destination stays as it is")
        return ""
    keys = renamed(stream.primary_key, config.transforms) if stream else ()
    disposition = "replace" if is_reset else _disposition(config, keys)
    missing = [name for name in keys if name not in output.schema.names]
    if disposition == "merge" and missing:
        raise NoPrimaryKey(f"The rows have no column {missing[0]!r} to be merged on.")

    def before_commit() -> None:
        reporter.check_before_commit()
        reach("loaded", job.pipeline_id)

    request = LoadRequest(
        output=output,
        table=config.stream,
        disposition=disposition,
        incremental=stream is not None,
        primary_key=keys,
        pipeline_id=job.pipeline_id,
        load_id=job.run_id,
        cursor=extracted.cursor,
        schema_contract=config.schema_contract,
        log=reporter.log,
        progress=lambda rows: reporter.progress(RunPhase.LOAD, rows, extracted.bytes),
        before_commit=before_commit,
    )
    pa.default_memory_pool().release_unused()  # what extracting took does not add to what loading takes
    reporter.progress(RunPhase.LOAD, 0, extracted.bytes)
    result = config.destination.load(request)
    reach("committed", job.pipeline_id)
    reporter.log.info("Loaded %s rows into %s", f"{result.rows:,}", result.location)
    return result.location


def _disposition(config: PipelineConfig, keys: tuple[str, ...]) -> WriteDisposition:
    if config.sync_mode is SyncMode.FULL_REFRESH:
        return "replace"
    return "merge" if keys and "merge" in config.destination.dispositions else "append"
