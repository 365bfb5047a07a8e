"""The op of every pipeline's job. It hands the run to the engine and reports the result to Dagster.

Dagster stores an exception's text and traceback unencrypted and for good, so the op raises only errors with a
code and a masked text.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import dagster
from dagster import (
    AssetMaterialization,
    DagsterExecutionInterruptedError,
    Failure,
    GraphDefinition,
    MetadataValue,
    Nothing,
    OpExecutionContext,
)

from headrace.errors import HeadraceError
from headrace.failpoints import reach
from headrace.naming import RUN_ID_TAG, asset_key, pipeline_id_of
from headrace.records import RunStatus
from headrace_dagster.private.run_errors import record_without_stack
from headrace_dagster.progress import Observations
from headrace_dagster.schema_changes import schema_changes
from headrace_dagster.telling import run_log, tell_patiently

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.engine.job import Progress
    from headrace.receipts import Receipt

_log = logging.getLogger(__name__)
_PARENT_RUN_TAG = "dagster/parent_run_id"


class Stopped(Exception):
    """The platform has already ended the run, so its worker must stop."""


class ExecutionOutcome(Protocol):
    """What Dagster may know of a run's result: counts, columns, and a preview if the operator wants one."""

    @property
    def rows(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    @property
    def schema(self) -> "pa.Schema": ...

    @property
    def receipt(self) -> "Receipt": ...

    @property
    def preview(self) -> Sequence[Mapping[str, str | None]]: ...


class Execute(Protocol):
    """Execute one run of a pipeline. Raises HeadraceError, whose text is masked, or Stopped."""

    def __call__(
        self,
        *,
        pipeline_id: UUID,
        run_id: UUID | None,
        dagster_run_id: str,
        log: logging.Logger,
        progress: Callable[["Progress"], None],
    ) -> ExecutionOutcome: ...


def extract_load_graph(
    execute: Execute, preview_rows: int = 0, status_of: Callable[[str], RunStatus | None] = lambda id_: None
) -> GraphDefinition:
    """Build the graph of all pipelines' jobs; the catalog shows the first `preview_rows` rows of each run.

    `status_of` returns the status of the row that a Dagster run executes.
    """
    record_without_stack(Failure, DagsterExecutionInterruptedError)

    @dagster.op(
        name="extract_load",
        description="Reads the source's stream, writes `output.parquet` and loads the destination.",
        out=dagster.Out(Nothing),
    )
    def extract_load(context: OpExecutionContext) -> None:
        pipeline_id = pipeline_id_of(context.job_name)
        assert pipeline_id is not None, "only pipelines have jobs here"
        started = time.monotonic()
        tell_patiently(context.instance)
        result = _guarded(execute, status_of, context, pipeline_id)
        if result is None:
            return
        try:
            reach("telling", pipeline_id)
            facts = _facts(result, time.monotonic() - started)
            if rows := result.preview[:preview_rows]:
                facts["preview"] = _table(rows)
            for change in schema_changes(result.receipt, _asset_key(context, pipeline_id)):
                context.log_event(change)
            context.log_event(_materialization(context, pipeline_id, result.rows, facts))
            reach("told", pipeline_id)
        except (Exception, DagsterExecutionInterruptedError) as error:
            # The data is in the destination, and the run is a success: Dagster only lacks its figures.
            run_log(context.log).warning(
                "Dagster has not stored the run's figures: %s.", type(error).__name__
            )

    return GraphDefinition(name="extract_load_graph", node_defs=[extract_load])


def launched_for(tags: dict[str, str]) -> UUID | None:
    """Return the platform's run that a Dagster run was launched for; None if it was started in the UI.

    A re-execution in the UI inherits its parent's tags, but it is a new run.
    """
    if RUN_ID_TAG not in tags or _PARENT_RUN_TAG in tags:
        return None
    return UUID(tags[RUN_ID_TAG])


def _guarded(
    execute: Execute,
    status_of: Callable[[str], RunStatus | None],
    context: OpExecutionContext,
    pipeline_id: UUID,
) -> ExecutionOutcome | None:
    """Execute the run; return None if it is a success whose figures are lost."""
    try:
        return execute(
            pipeline_id=pipeline_id,
            run_id=launched_for(dict(context.run.tags)),
            dagster_run_id=context.run_id,
            log=run_log(context.log),
            progress=Observations(context.log_event, _asset_key(context, pipeline_id)).see,
        )
    except DagsterExecutionInterruptedError:
        # A new exception without its context, which may be an error that holds a secret.
        raise DagsterExecutionInterruptedError("The run was interrupted.") from None
    except Stopped as stopped:
        _tell_of_stop(context, pipeline_id, str(stopped))
        raise DagsterExecutionInterruptedError(str(stopped)) from None
    except HeadraceError as error:
        # The code `run.failed` says only that the run failed; the cause's code says why.
        code = getattr(error, "cause_code", error.code)
        raise _failure(code, error.detail, hint=error.hint) from None
    except Exception as error:
        if _has_succeeded(status_of, context.run_id):
            run_log(context.log).warning("The run's figures are lost: %s.", type(error).__name__)
            return None
        # The exception's text may quote a value, but its type and line never do.
        raise _failure("internal", f"Unexpected {type(error).__name__}.", where=_where(error)) from None


def _tell_of_stop(context: OpExecutionContext, pipeline_id: UUID, reason: str) -> None:
    # Otherwise Dagster would record an interrupt that it did not ask for as a failure.
    try:
        reach("stop_telling", pipeline_id)
        context.instance.report_run_canceling(context.run, message=reason)
    except Exception as error:
        # Dagster would record that as a failure, too. The code server ends the run as the row says.
        _log.warning("Dagster cannot be told that a run stops: %s.", type(error).__name__)
        os._exit(os.EX_TEMPFAIL)


def _has_succeeded(status_of: Callable[[str], RunStatus | None], dagster_run_id: str) -> bool:
    try:
        return status_of(dagster_run_id) is RunStatus.SUCCESS
    except HeadraceError:
        return False


def _failure(code: str, detail: str, **facts: str) -> Failure:
    metadata = {name: MetadataValue.text(text) for name, text in {"code": code, **facts}.items() if text}
    return Failure(description=f"{code}: {detail}", metadata=metadata, allow_retries=False)


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno} in {frame.name}"


def _facts(result: ExecutionOutcome, seconds: float) -> dict[str, Any]:
    """Return what the catalog plots and shows of a run."""
    return {
        "dagster/row_count": result.rows,
        "bytes": result.bytes,
        "duration (s)": round(seconds, 3),
        "output size": result.output_size,
        "dagster/column_schema": MetadataValue.table_schema(_table_schema(result.schema)),
        **_receipt_facts(result.receipt),
    }


def _receipt_facts(receipt: "Receipt") -> dict[str, Any]:
    """Return the receipt's figures that say anything."""
    rows = {
        f"rows {name}": getattr(receipt, name)
        for name in ("read", "repeated", "dropped", "added", "inserted", "updated", "deleted")
    }
    facts: dict[str, Any] = {name: count for name, count in rows.items() if count}
    if receipt.total is not None:
        facts["rows in the table"] = receipt.total
    if changes := (*receipt.schema_changes, *receipt.table_changes):
        facts["schema changes"] = MetadataValue.json([vars(change) for change in changes])
    if receipt.warnings:
        facts["warnings"] = MetadataValue.json([vars(warning) for warning in receipt.warnings])
    return facts


def _table(rows: Sequence[Mapping[str, str | None]]) -> dagster.TableMetadataValue:
    columns = [dagster.TableColumn(name=name, type="string") for name in rows[0]]
    records = [{name: text or "" for name, text in row.items()} for row in rows]
    return MetadataValue.table(
        records=[dagster.TableRecord(record) for record in records],
        schema=dagster.TableSchema(columns=columns),
    )


def _materialization(
    context: OpExecutionContext, pipeline_id: UUID, rows: int, facts: dict[str, Any]
) -> AssetMaterialization:
    return AssetMaterialization(
        asset_key=_asset_key(context, pipeline_id),
        description=f"{context.job_def.metadata['name'].value}: {rows:,} rows",
        metadata=facts,
    )


def _asset_key(context: OpExecutionContext, pipeline_id: UUID) -> Sequence[str]:
    of = context.job_def.metadata
    return asset_key(pipeline_id, str(of["source"].value), str(of["stream"].value))


def _table_schema(schema: "pa.Schema") -> dagster.TableSchema:
    return dagster.TableSchema(
        columns=[
            dagster.TableColumn(
                name=field.name,
                type=str(field.type),
                constraints=dagster.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )
