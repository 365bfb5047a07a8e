"""Claims of workers on runs: taken by compare-and-set, held by a lease, ended once.

Every write after the claim is conditional on the claim's fence. So a worker whose lease expired, or whose run
was cancelled, changes nothing. Leases use the database's clock.

A connection may break between a COMMIT and its answer. A worker that repeats such a claim or result finds its
own write in the row, and goes on.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select, update

from headrace.errors import Conflict, Unavailable
from headrace.receipts import Receipt
from headrace.records import Policy, Run, RunPhase, RunStatus, State, TriggeredBy
from headrace.store.database import Database
from headrace.store.lifecycle.failures import SETTLED, fail
from headrace.store.policies import policy_of
from headrace.store.runs import ACTIVE, COLUMNS, active_run_id, pending_run, run_of
from headrace.store.schema import pipelines, runs, states
from headrace.store.scoped import insert_unless_taken, replace_row
from headrace.store.sealed import SealedConfig, sealed_config
from headrace.store.states import state_of
from headrace.store.targets import TableTaken, owner_before, table_taken


class AlreadyTaken(Conflict):
    """The run is not waiting for a worker: another worker has it, or it has ended."""

    code = "run.already_taken"
    title = "Run already claimed"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claimed run, with its pipeline's config at the time of the claim."""

    run: Run
    pipeline_name: str
    policy: Policy
    config: SealedConfig
    owner: TableTaken | None  # why the run must not fill its table; None: it may
    last_receipt: Receipt | None  # of the last run that succeeded


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The result of a worker. Which fields are set depends on the status."""

    status: RunStatus
    rows: int | None = None
    bytes: int | None = None
    output_file: str | None = None
    output_file_size: int | None = None
    error_code: str | None = None
    error: str | None = None
    may_pass: bool = False  # the error may be temporary
    is_incremental: bool = False
    cursor: Any = None  # an incremental run has loaded up to it
    identity: str = ""  # what the cursor belongs to
    has_loaded: bool = True  # False: the destination's record is as it was
    receipt: Receipt | None = None
    state_version: str = ""  # of the state from which it continued


class LeaseStore:
    """The claims of one worker, on runs of any organization."""

    def __init__(self, database: Database, lease: timedelta) -> None:
        self._database = database
        self._lease = lease
        self._is_in_doubt = False  # an earlier write may have been committed without an answer

    def claim(self, run_id: UUID, dagster_run_id: str) -> Claim:
        """Take a pending run. Raises AlreadyTaken; of two workers that try, one gets it.

        Once a launch is recorded, only its worker may: an earlier one is being stopped in Dagster.
        """
        with self._decisive() as connection:
            now = self._database.now(connection)
            claimed = connection.execute(
                update(runs)
                .where(
                    runs.c.id == run_id,
                    runs.c.status == RunStatus.PENDING,
                    func.coalesce(runs.c.dagster_run_id, dagster_run_id) == dagster_run_id,
                )
                .values(
                    status=RunStatus.RUNNING,
                    dagster_run_id=dagster_run_id,
                    fence=runs.c.fence + 1,
                    lease_until=now + self._lease,
                    started_at=now,
                    launch_at=None,
                    receipt=None,  # clears the error of an earlier attempt
                    phase=func.coalesce(runs.c.phase, RunPhase.START),
                )
            ).rowcount
            if not claimed and self._claimed_before(connection, dagster_run_id) != run_id:
                raise AlreadyTaken(f"Run {run_id} is not waiting for a worker.")
            return _claim_of(connection, run_id)

    def claim_new(self, pipeline_id: UUID, dagster_run_id: str) -> Claim:
        """Store and claim a run that was started in Dagster: in the UI's launchpad, or as a re-execution.

        Raises AlreadyTaken if the pipeline is deleted or has an active run.
        """
        with self._decisive() as connection:
            pipeline = connection.execute(
                select(pipelines).where(pipelines.c.id == pipeline_id, pipelines.c.deleted_at.is_(None))
            ).one_or_none()
            if pipeline is None:
                raise AlreadyTaken(f"Pipeline {pipeline_id} is deleted.")
            now = self._database.now(connection)
            row = pending_run(pipeline.organization_id, pipeline_id, TriggeredBy.MANUAL, now) | {
                "status": RunStatus.RUNNING,
                "dagster_run_id": dagster_run_id,
                "fence": 1,
                "lease_until": now + self._lease,
                "started_at": now,
                "launch_at": None,
                "phase": RunPhase.START,
            }
            if not insert_unless_taken(connection, runs, row):
                if mine := self._claimed_before(connection, dagster_run_id):
                    return _claim_of(connection, mine)
                active = active_run_id(connection, pipeline_id)
                raise AlreadyTaken(f"Run {active} of this pipeline has not ended.")
            return _claim_of(connection, row["id"])

    def renew(self, run: Run, *, phase: RunPhase, rows: int, bytes_: int) -> bool:
        """Renew the lease and store the progress. False means: stop, because the claim is lost."""
        with self._database.write() as connection:
            return _write(
                connection,
                _held(run),
                lease_until=self._database.now(connection) + self._lease,
                phase=phase,
                rows=rows,
                bytes=bytes_,
            )

    def end(self, run: Run, ending: Ending) -> bool:
        """Write the result and, with it, the sync state; False: the run had ended already, and stays so."""
        with self._decisive() as connection:
            now = self._database.now(connection)
            receipt = ending.receipt.as_json() if ending.receipt else None
            if ending.status is RunStatus.FAILED:
                code, error = ending.error_code or "", ending.error or ""
                _write(connection, _held(run), receipt=receipt)
                failed = fail(connection, _held(run), now, code=code, error=error, may_pass=ending.may_pass)
                return bool(failed) or self._ended_before(connection, run, ending)
            ended = _write(
                connection,
                _held(run),
                finished_at=now,
                lease_until=None,
                stop_at=now + SETTLED,
                phase=None,
                status=ending.status,
                rows=ending.rows,
                bytes=ending.bytes,
                output_file=ending.output_file,
                output_file_size=ending.output_file_size,
                error_code=None,  # clears the error of an earlier attempt
                error=None,
                receipt=receipt,
            )
            if ended and ending.is_incremental:
                _write_state(connection, run, ending, now)
            return ended or self._ended_before(connection, run, ending)

    def leave_receipt(self, run: Run, receipt: Receipt) -> None:
        """Write what the worker did of a run that somebody else has ended, such as by a cancel."""
        with self._database.write() as connection:
            ended = (runs.c.id == run.id) & (runs.c.fence == run.fence) & runs.c.status.not_in(ACTIVE)
            _write(connection, ended & runs.c.receipt.is_(None), receipt=receipt.as_json())

    def status(self, run_id: UUID) -> RunStatus | None:
        """Return the run's status; None if it was purged."""
        with self._database.read() as connection:
            status = connection.execute(select(runs.c.status).where(runs.c.id == run_id)).scalar()
            return RunStatus(status) if status is not None else None

    @contextmanager
    def _decisive(self) -> Iterator[Connection]:
        """Open a transaction after which this worker goes on or stops."""
        try:
            with self._database.write() as connection:
                yield connection
        except Unavailable:
            self._is_in_doubt = True
            raise

    def _claimed_before(self, connection: Connection, dagster_run_id: str) -> UUID | None:
        """Return the run that this worker claimed without being told; None: there is none."""
        theirs = (runs.c.dagster_run_id == dagster_run_id) & (runs.c.status == RunStatus.RUNNING)
        found: UUID | None = connection.execute(select(runs.c.id).where(theirs)).scalar()
        return found if self._is_in_doubt else None

    def _ended_before(self, connection: Connection, run: Run, ending: Ending) -> bool:
        """Return whether this worker has written the result without being told."""
        same = (runs.c.id == run.id) & (runs.c.fence == run.fence) & (runs.c.status == ending.status)
        found = connection.execute(select(runs.c.id).where(same)).scalar()
        return self._is_in_doubt and found is not None


def _held(run: Run) -> ColumnElement[bool]:
    return (runs.c.id == run.id) & (runs.c.fence == run.fence) & (runs.c.status == RunStatus.RUNNING)


def _write(connection: Connection, which: ColumnElement[bool], **values: Any) -> bool:
    return bool(connection.execute(update(runs).where(which).values(**values)).rowcount)


def _write_state(connection: Connection, run: Run, ending: Ending, now: datetime) -> None:
    state = state_of(connection, run.pipeline_id)
    if state.demand and state.version != ending.state_version:
        return  # A client set the state during this run, so it applies to the next run.
    row = {
        "pipeline_id": run.pipeline_id,
        "organization_id": run.organization_id,
        "cursor": None if ending.cursor is None else json.dumps(ending.cursor),
        "load_id": run.id if ending.has_loaded else _earlier_load(state),
        "demand": None,
        "identity": ending.identity,
        "updated_at": now,
    }
    replace_row(connection, states, row)


def _earlier_load(state: State) -> UUID | None:
    """Return the load that a run without new rows leaves in place; older releases noted such runs, too."""
    return state.load_id if state.identity and not state.demand else None


def _last_receipt(connection: Connection, run: Run) -> Receipt | None:
    query = (
        select(runs.c.receipt)
        .where(
            runs.c.organization_id == run.organization_id,
            runs.c.pipeline_id == run.pipeline_id,
            runs.c.status == RunStatus.SUCCESS,
        )
        .order_by(runs.c.created_at.desc(), runs.c.id.desc())
        .limit(1)
    )
    receipt = connection.execute(query).scalar()
    return Receipt.from_json(receipt) if receipt else None


def _claim_of(connection: Connection, run_id: UUID) -> Claim:
    run = run_of(connection.execute(select(*COLUMNS).where(runs.c.id == run_id)).one())
    pipeline = connection.execute(select(pipelines).where(pipelines.c.id == run.pipeline_id)).one()
    if pipeline.deleted_at is not None:
        raise AlreadyTaken(f"Pipeline {run.pipeline_id} is deleted.")
    owner = owner_before(connection, pipeline)
    return Claim(
        run=run,
        pipeline_name=pipeline.name,
        policy=policy_of(pipeline.policy),
        config=sealed_config(pipeline),
        owner=table_taken(owner) if owner else None,
        last_receipt=_last_receipt(connection, run),
    )
