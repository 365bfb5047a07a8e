"""A run's execution in its worker: claim, lease, engine, result.

The row in `runs` is the truth. A worker that is killed at any line leaves a lease that expires, and the
reaper fails the run. A worker that was cancelled or lost its lease finds its fence outdated and publishes
nothing.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from headrace import scratch
from headrace.connectors import ConnectorError, SyncMode
from headrace.engine.interrupts import Interrupts
from headrace.engine.job import EngineJob, EngineResult, Progress
from headrace.engine.output import DiskFull
from headrace.engine.run import run_pipeline
from headrace.engine.tally import Tally
from headrace.errors import HeadraceError, Unavailable, is_disk_full
from headrace.failpoints import reach
from headrace.pipeline.document import PipelineConfig
from headrace.pipeline.resolution import resolve_config
from headrace.records import Run, RunStatus
from headrace.service.configs import open_config
from headrace.service.lease import OUTAGE_SECONDS, Lease, RunStopped, TimedOut, until_written
from headrace.service.platform import Platform
from headrace.store.lifecycle.leases import Claim, Ending, LeaseStore
from headrace.store.states import RunStates

OUTPUT_NAME = "output.parquet"
INTERRUPTED_SECONDS = 3.0  # to write down that a run was interrupted: its process is killed soon after


class RunFailed(HeadraceError):
    """The run failed, and its row says so. `cause_code` is the code of the error."""

    code = "run.failed"
    title = "Run failed"

    def __init__(self, cause_code: str, detail: str) -> None:
        super().__init__(detail)
        self.cause_code = cause_code


@dataclass(frozen=True, kw_only=True)
class Execution:
    """A run that succeeded."""

    run: Run
    result: EngineResult


def execute_run(
    platform: Platform,
    *,
    pipeline_id: UUID,
    run_id: UUID | None,
    dagster_run_id: str,
    log: logging.Logger,
    progress: Callable[[Progress], None] = lambda progress: None,
    end_process: Callable[[], None] = lambda: None,
) -> Execution:
    """Execute a pending run. If `run_id` is None, Dagster started one by itself: store a new run.

    `log` gets lines that the engine has masked, `progress` how far it is after each batch. `end_process` is
    called when the run must stop and this thread is stuck.
    Raises AlreadyTaken and RunStopped, which leave the run as it is, and RunFailed, which is written down.
    Raises Interrupted after SIGINT or SIGTERM.
    Raises Unavailable if the database does not answer after the load: the next attempt ends the run.
    """
    interrupts = Interrupts()
    with interrupts.held():
        reach("claiming", pipeline_id)
        leases = LeaseStore(platform.database, timedelta(seconds=platform.settings.lease_seconds))
        claim = until_written(
            lambda: (
                leases.claim_new(pipeline_id, dagster_run_id)
                if run_id is None
                else leases.claim(run_id, dagster_run_id)
            ),
            seconds=OUTAGE_SECONDS,
        )
        reach("claimed", pipeline_id)
        lease = Lease(
            leases,
            claim.run,
            seconds=platform.settings.lease_seconds,
            # Dagster's own limit, in dagster.yaml, is longer.
            timeout_seconds=claim.policy.timeout_seconds or platform.settings.run_timeout_seconds,
            end_process=end_process,
        )
        return _executed(platform, claim, leases, lease, interrupts, log, progress)


def _executed(
    platform: Platform,
    claim: Claim,
    leases: LeaseStore,
    lease: Lease,
    interrupts: Interrupts,
    log: logging.Logger,
    progress: Callable[[Progress], None],
) -> Execution:
    tally = Tally()

    def check() -> None:
        interrupts.check()
        lease.check()

    with lease.kept():
        with _failure_written(leases, claim.run, tally), interrupts.raised():
            if claim.owner is not None:
                raise claim.owner
            config = _config_of(platform, claim)
            # Before anything temporary: a kill leaves a folder by which the sweeper knows this claim.
            with scratch.held(_scratch(platform, claim.run)):
                result = run_pipeline(config, _job(platform, claim, log, lease, check, progress, tally))
        # The data is there: from here on nothing may fail the run. If this worker cannot write that down, the
        # next attempt does, once the lease has expired.
        lease.lift_timeout()
        is_incremental = config.sync_mode is SyncMode.INCREMENTAL
        _write(leases, claim.run, _success(claim.run, result, is_incremental=is_incremental))
    return Execution(run=claim.run, result=result)


def _config_of(platform: Platform, claim: Claim) -> PipelineConfig:
    run = claim.run
    raw = open_config(
        platform.envelope, claim.config, organization_id=run.organization_id, pipeline_id=run.pipeline_id
    )
    return resolve_config(raw, platform.settings)


def _scratch(platform: Platform, run: Run) -> Path:
    return platform.settings.scratch / scratch.name_of(run.id, run.fence)


def _job(
    platform: Platform,
    claim: Claim,
    log: logging.Logger,
    lease: Lease,
    check: Callable[[], None],
    progress: Callable[[Progress], None],
    tally: Tally,
) -> EngineJob:
    run, last = claim.run, claim.last_receipt

    def report(now: Progress) -> None:
        lease.report(now)
        progress(now)

    folder = platform.settings.outputs / str(run.id)
    folder.mkdir(parents=True, exist_ok=True)
    return EngineJob(
        output_path=folder / OUTPUT_NAME,
        scratch=_scratch(platform, run),
        pipeline_id=str(run.pipeline_id),
        pipeline_name=claim.pipeline_name,
        run_id=str(run.id),
        fence=run.fence,
        log=log,
        state=until_written(
            lambda: RunStates(platform.database).get(run.pipeline_id), seconds=OUTAGE_SECONDS
        ),
        schema_before=last.schema_after if last else None,
        rows_before=last.written if last else None,
        known_columns=last.named_columns if last else (),
        tally=tally,
        progress=report,
        check=check,
        before_commit=lease.check_with_database,
    )


def _success(run: Run, result: EngineResult, *, is_incremental: bool) -> Ending:
    return Ending(
        status=RunStatus.SUCCESS,
        is_incremental=is_incremental,
        cursor=result.cursor,
        identity=result.identity,
        has_loaded=result.has_loaded,
        receipt=result.receipt,
        state_version=result.state_version,
        rows=result.rows,
        bytes=result.bytes,
        output_file=f"outputs/{run.id}/{OUTPUT_NAME}",
        output_file_size=result.output_size,
    )


@contextmanager
def _failure_written(leases: LeaseStore, run: Run, tally: Tally) -> Iterator[None]:
    """Write any failure of the block to the run's row. No error that leaves may contain a secret."""
    try:
        yield
    except RunStopped:
        with suppress(HeadraceError):  # best effort: the run has ended already
            leases.leave_receipt(run, tally.receipt())
        raise
    except HeadraceError as error:
        detail = f"{error.detail} {error.hint}".strip()
        ending = Ending(
            status=RunStatus.FAILED,
            error_code=error.code,
            error=detail,
            may_pass=_may_pass(error),
            receipt=tally.receipt(),
        )
        _write(leases, run, ending)
        raise RunFailed(error.code, detail) from None
    except Exception as error:
        code, detail = _unforeseen(error)
        ending = Ending(status=RunStatus.FAILED, error_code=code, error=detail, receipt=tally.receipt())
        _write(leases, run, ending)
        raise RunFailed(code, detail) from None
    except BaseException:
        # An interrupt, or the end of the process. After a cancel the run has ended already.
        if tally.receipt().loaded is None:  # otherwise the next attempt finds the data: a success
            _write_interrupted(leases, run, tally)
        raise


def _write_interrupted(leases: LeaseStore, run: Run, tally: Tally) -> None:
    detail = "The run was interrupted before it ended."
    ending = Ending(
        status=RunStatus.FAILED, error_code="run.interrupted", error=detail, receipt=tally.receipt()
    )
    with suppress(HeadraceError):
        until_written(lambda: leases.end(run, ending), seconds=INTERRUPTED_SECONDS)


def _unforeseen(error: Exception) -> tuple[str, str]:
    if is_disk_full(error):
        return DiskFull.code, f"The disk was full. {DiskFull.hint}"
    return "run.internal_error", f"Headrace failed with {type(error).__name__}."


def _may_pass(error: HeadraceError) -> bool:
    """Whether a retry of the same run may succeed."""
    return isinstance(error, Unavailable | TimedOut) or (
        isinstance(error, ConnectorError) and error.temporary
    )


def _write(leases: LeaseStore, run: Run, ending: Ending) -> None:
    if not until_written(lambda: leases.end(run, ending), seconds=OUTAGE_SECONDS):
        raise RunStopped("The run had ended before its result was written.")
    reach("failed" if ending.status is RunStatus.FAILED else "ended", run.pipeline_id)
