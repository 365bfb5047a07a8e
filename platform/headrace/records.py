"""The stored records as frozen values. All times are aware and in UTC."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class RunStatus(StrEnum):
    """The states of a run: pending, running, and three terminal states, which never change.

    A worker's claim or a cancel ends `pending`. The worker's result, a cancel, or the reaper after the
    worker's lease has expired ends `running`.
    """

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True if the run has ended."""
        return self in (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.CANCELLED)


class RunPhase(StrEnum):
    """What a running worker is doing."""

    START = "start"  # it has claimed the run
    EXTRACT = "extract"  # it reads the source into the output file
    LOAD = "load"  # the output file is whole; the destination is loaded from it


class TriggeredBy(StrEnum):
    """Who started a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"


class Role(StrEnum):
    """What a token may do: a viewer reads, an editor also writes and runs, an owner also manages tokens."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The caller. Every query is scoped to the caller's organization."""

    organization_id: UUID
    token_id: UUID | None  # None: the installation itself (the CLI in the home folder, the daemon)
    role: Role
    reads_secrets: bool  # may see a pipeline's config unmasked


@dataclass(frozen=True, kw_only=True)
class Token:
    """An API token without its secret, of which only a hash is stored."""

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
    """What a slot does while a run of the pipeline is active."""

    SKIP = "skip"
    QUEUE = "queue"  # the slot's run starts when the other has ended


class Missed(StrEnum):
    """What happens to slots that were due while no daemon was running."""

    NONE = "none"
    LATEST = "latest"  # run the newest
    ALL = "all"  # run all, one after the other


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How a pipeline's runs are started, limited and retried."""

    max_attempts: int = 1  # for errors that may be temporary
    retry_delay_seconds: float = 30.0  # before the second attempt; doubled for each further one
    timeout_seconds: float | None = None  # of one attempt
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.LATEST
    jitter_seconds: float = 0.0  # upper bound of the delay of slots; each pipeline always has the same delay
    priority: int = 0  # waiting runs with a higher priority start first


class SlotOutcome(StrEnum):
    """What happened to a slot."""

    RUN = "run"
    WAITING = "waiting"  # for the active run to end
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A past slot of a schedule, and what happened to it."""

    scheduled_at: datetime
    outcome: SlotOutcome
    reason: str | None
    run_id: UUID | None
    run_status: RunStatus | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A failed attempt of a run that was retried."""

    attempt: int
    dagster_run_id: str | None
    started_at: datetime | None
    finished_at: datetime
    error_code: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A stored pipeline without its config, which is encrypted and read separately."""

    id: UUID
    organization_id: UUID
    name: str
    source: str  # the connector's name, such as "postgres"
    stream: str
    destination: str  # the connector's name
    sync_mode: str
    schedule: str | None  # None: only runs started by hand
    timezone: str
    enabled: bool
    domain_id: UUID | None
    domain_name: str | None
    tags: tuple[str, ...]
    policy: Policy
    revision: int  # counts changes from 1; used for the ETag, the encryption and Dagster's cache
    created_at: datetime
    updated_at: datetime | None
    last_run_status: RunStatus | None
    last_run_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a pipeline. This record is the truth; Dagster's record is a view of it."""

    id: UUID
    organization_id: UUID
    pipeline_id: UUID
    status: RunStatus
    triggered_by: TriggeredBy
    scheduled_at: datetime | None  # the schedule's slot
    attempt: int
    dagster_run_id: str | None
    fence: int  # counts claims; a worker with an older fence cannot write
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
    """What a client wants of the next run. It overrides what the destination says."""

    SET = "set"  # read after the given cursor
    RESET = "reset"  # read everything, and replace the destination's table


@dataclass(frozen=True, kw_only=True)
class State:
    """How far an incremental pipeline has read its source."""

    cursor: Any = None  # a JSON value; None: nothing was read yet
    load_id: UUID | None = None  # the run that loaded up to the cursor
    demand: StateDemand | None = None  # None once a run has followed it
    identity: str = ""  # what the cursor belongs to (pipeline/identity); empty: not known
    updated_at: datetime | None = None

    @property
    def version(self) -> str:
        """A value that differs for each state that is ever stored for the pipeline."""
        return self.updated_at.isoformat() if self.updated_at else ""


@dataclass(frozen=True, kw_only=True)
class JobCard:
    """All that Dagster may know of a pipeline. Of the config, this is only three names."""

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
    """The part of a list to read."""

    limit: int = 100  # 1..1000
    offset: int = 0
