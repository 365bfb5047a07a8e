"""What Headrace stores, as frozen values. Times are aware and in UTC."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class RunStatus(StrEnum):
    """A run's life: pending to running to one of the three terminal states, which never change again.

    `pending` is left by the worker's claim or by a cancel; `running` by the worker's result, by a cancel, or
    by the reaper once the worker's lease has run out.
    """

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended for good."""
        return self in (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELLED)


class RunPhase(StrEnum):
    """What a running worker is doing."""

    START = "start"  # it has claimed the run
    EXTRACT = "extract"  # it reads the source into the output file
    LOAD = "load"  # the output file is whole; the destination is loaded from it


class TriggeredBy(StrEnum):
    """Who asked for a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"


class Role(StrEnum):
    """What a token may do: a viewer reads, an editor also writes and runs, an owner also manages tokens."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who is asking: every query is scoped to its organization."""

    organization_id: UUID
    token_id: UUID | None  # None: this installation itself (the CLI on the home folder, the daemon)
    role: Role
    reads_secrets: bool  # may see a pipeline's config unmasked


@dataclass(frozen=True, kw_only=True)
class Token:
    """An API token as it may be shown: the secret itself is stored only as its hash."""

    id: UUID
    name: str
    role: Role
    reads_secrets: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A group of pipelines, such as a team or a business area."""

    id: UUID
    name: str
    description: str | None
    color: str | None  # "#rrggbb"
    revision: int
    created_at: datetime
    updated_at: datetime | None


class Overlap(StrEnum):
    """What a schedule's slot does while a run of the pipeline has not ended."""

    SKIP = "skip"
    QUEUE = "queue"  # its run begins when the other has ended


class Missed(StrEnum):
    """What becomes of slots that passed while no daemon was there to see them."""

    NONE = "none"
    LATEST = "latest"  # the newest of them runs
    ALL = "all"  # each runs, one after the other


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a pipeline's runs are started, bounded and repeated."""

    max_attempts: int = 1  # for errors that may pass
    retry_delay_seconds: float = 30.0  # before the second attempt; twice as long before each further one
    timeout_seconds: float | None = None  # of one attempt
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.LATEST
    jitter_seconds: float = 0.0  # spreads a slot's start; the same for each slot of a pipeline
    priority: int = 0  # higher goes first where runs wait


class SlotOutcome(StrEnum):
    """What became of a schedule's slot."""

    RUN = "run"
    WAITING = "waiting"  # for the active run to end
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One moment of a schedule, in the past, and what became of it."""

    scheduled_at: datetime
    outcome: SlotOutcome
    reason: str | None
    run_id: UUID | None
    run_status: RunStatus | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt of a run that failed and was followed by another."""

    attempt: int
    dagster_run_id: str | None
    started_at: datetime | None
    finished_at: datetime
    error_code: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A stored pipeline without its config, which is encrypted and read on its own."""

    id: UUID
    organization_id: UUID
    name: str
    source: str  # the connector's name, such as "postgres"
    stream: str
    destination: str  # the connector's name
    sync_mode: str
    schedule: str | None  # None: by hand only
    timezone: str
    enabled: bool
    domain_id: UUID | None
    domain_name: str | None
    tags: tuple[str, ...]
    policy: Policy
    revision: int  # counts every change from 1: the ETag, the encryption's binding, Dagster's cache key
    created_at: datetime
    updated_at: datetime | None
    last_run_status: RunStatus | None
    last_run_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a pipeline. The row is the truth about it; Dagster's record is a view."""

    id: UUID
    organization_id: UUID
    pipeline_id: UUID
    status: RunStatus
    triggered_by: TriggeredBy
    scheduled_at: datetime | None  # the schedule's slot
    attempt: int
    dagster_run_id: str | None
    fence: int  # counts claims; a worker with an older fence may write nothing
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error: str | None
    rows: int | None
    bytes: int | None  # of Arrow memory read from the source
    phase: RunPhase | None  # None unless a worker has it
    output_file: str | None  # relative to the home folder
    output_file_size: int | None


class TableUse(StrEnum):
    """How a pipeline uses the table that it fills."""

    OWN = "own"  # no other pipeline fills it
    SHARED = "shared"  # others may, too: all of them append or merge
    ADOPT = "adopt"  # it is taken over from whoever made it


class StateDemand(StrEnum):
    """What a client asked of the next run, over what the destination says."""

    SET = "set"  # read what comes after the given cursor
    RESET = "reset"  # read everything, and replace the destination's table


@dataclass(frozen=True, kw_only=True)
class State:
    """How far an incremental pipeline has read."""

    cursor: Any = None  # a JSON value; None: nothing yet
    load_id: UUID | None = None  # the run that loaded up to the cursor
    demand: StateDemand | None = None  # not yet followed
    updated_at: datetime | None = None

    @property
    def version(self) -> str:
        """Tells this state from any that was or will be stored for the pipeline."""
        return self.updated_at.isoformat() if self.updated_at else ""


@dataclass(frozen=True, kw_only=True)
class JobCard:
    """All that Dagster may know of a pipeline: nothing of its config but three names."""

    pipeline_id: UUID
    name: str
    source: str
    stream: str
    destination: str
    sync_mode: str
    schedule: str | None
    timezone: str
    enabled: bool
    domain_name: str | None
    tags: tuple[str, ...]
    revision: int
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which part of a list to read."""

    limit: int = 100  # 1..1000
    offset: int = 0
