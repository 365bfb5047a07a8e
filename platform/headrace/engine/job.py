"""The input of a run, its progress, and its result."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from headrace.connectors import Cursor
from headrace.engine.preview import Preview
from headrace.engine.tally import Tally
from headrace.receipts import Receipt
from headrace.records import RunPhase, State


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    phase: RunPhase
    rows: int  # extracted, or loaded, so far
    bytes: int  # of Arrow memory extracted so far


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """The input of a run, and the callbacks that it reports to."""

    output_path: Path
    scratch: Path | None = None  # a folder of this worker alone, on the output's disk; None: the output's
    pipeline_id: str
    pipeline_name: str = ""  # for people who ask whose table it is
    run_id: str
    fence: int = 0  # which of the run's attempts this is
    log: logging.Logger
    state: State = field(
        default_factory=State
    )  # the platform's; the destination's own record, where it keeps one, comes first
    schema_before: dict[str, str] | None = None  # Arrow types by column, of the last run that succeeded
    rows_before: int | None = None  # that the last run that succeeded has written
    known_columns: tuple[str, ...] = ()  # that transforms name, and that earlier runs have had
    tally: Tally = field(default_factory=Tally)
    """The run's figures, which are there also when `run_pipeline` raises."""
    progress: Callable[[Progress], None] = lambda progress: None
    check: Callable[[], None] = lambda: None
    """Raises when the run was cancelled or is no longer this worker's. Its error leaves `run_pipeline`
    unchanged, whatever a connector makes of it. Called between batches."""
    before_commit: Callable[[], None] = lambda: None
    """Like `check`, called right before the commit: it may take its time to be sure."""


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """What a run did."""

    rows: int
    bytes: int  # of Arrow memory
    output_size: int  # of the file, in bytes
    schema: pa.Schema
    location: str  # where the data is now, for people
    cursor: Cursor | None  # stored with the data
    identity: str  # what the cursor belongs to
    has_loaded: bool  # False: there was nothing new, and the destination's record is as it was
    state_version: str  # of the state that the source was read by
    receipt: Receipt
    preview: Preview  # the first rows; none where they could not be written as text
