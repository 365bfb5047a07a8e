"""What a destination is: where a run's records go."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace.connectors.contract.section import Connector
from headrace.connectors.contract.streams import Cursor
from headrace.connectors.contract.warnings import Warn, log_warning

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

WriteDisposition = Literal["replace", "append", "merge"]
SchemaContract = Literal["evolve", "freeze"]
_BATCH_BYTES = 16 * 1024 * 1024  # before compression, as Parquet encodes them


@dataclass(frozen=True, kw_only=True)
class Output:
    """A run's finished Parquet file: immutable, and read as often as a load needs."""

    path: Path
    schema: pa.Schema
    rows: int
    size: int  # of the file, in bytes

    def batches(self, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, at most `rows` and about 16 MB at a time; never of two row groups."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for index in range(file.num_row_groups):
                group = file.metadata.row_group(index)
                fitting = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
                yield from file.iter_batches(batch_size=max(min(rows, fitting), 1), row_groups=[index])


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """What a run asks of a destination."""

    output: Output
    table: str  # the table's name when the destination's configuration gives none
    disposition: WriteDisposition = "replace"
    incremental: bool = False  # later loads add to this one, whatever its disposition
    primary_key: tuple[str, ...] = ()
    pipeline_id: str
    load_id: str  # the run's id
    fence: int = 0  # which of the run's attempts this is
    cursor: Cursor | None = None  # stored with the data, in the same transaction
    schema_contract: SchemaContract = "evolve"  # freeze: a table that is there keeps its columns and types
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace.connector"))
    progress: Callable[[int], None] = lambda rows: None  # rows loaded so far
    check_result: Callable[[LoadResult], None] = lambda result: None
    """Raises where the figures contradict the output. To be called inside the transaction, with the result as
    it will be once that is committed: afterwards the run can only warn."""
    before_commit: Callable[[], None] = lambda: None  # raises when the run is no longer this worker's
    warn: Warn = log_warning  # what the destination leaves out, changes or cannot promise
    previous_load: str | None = None
    """The load id of the destination's own record that `cursor` goes on from; None: it held no record."""
    continues: bool = False
    """Whether the rows go on from `previous_load`: the load then checks, inside its transaction, that the
    record is still that one, and raises `MovedOn` where another load has come between."""
    identity: str = ""
    """What the cursor belongs to (source, stream, cursor field), as an opaque text kept with it."""
    pipeline_name: str = ""  # kept with the load, for people who ask whose table it is
    shared: bool = False  # other pipelines may fill the table, too: append and merge only
    adopt: bool = False  # take over a table that Headrace did not make, or another pipeline's


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did."""

    rows: int
    location: str  # where the data is now, for people: "postgres: analytics.public.contacts"
    inserted: int | None = None  # rows that are new in the table; None where the system does not tell
    updated: int | None = None  # rows that a merge has replaced
    deleted: int | None = None  # rows that were there before and are not any more
    total: int | None = None  # rows in the table after the load, counted by the destination
    schema_changes: tuple[SchemaChange, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SchemaChange:
    """What a load did to a column of a table that was there before."""

    column: str
    before: str | None  # the destination's own name of the type; None: the column is new
    after: str | None  # None: the column is gone


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What the destination says was last loaded for a pipeline."""

    load_id: str
    cursor: Cursor | None
    identity: str = ""  # what the cursor belongs to; empty where an older release wrote the record
    table: str | None = None  # the table's name in the destination; None where it keeps none
    table_exists: bool = True  # False: the record is there, and the table that it is of is gone


class Destination(Connector, ABC):
    """Where records go."""

    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace", "append", "merge")

    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve",)
    """What the destination can promise of a table's schema; `freeze` needs a table to hold the data to."""

    is_target_checked_early: ClassVar[bool] = True
    """Whether a pipeline is refused when it is stored, if another one has the same target. Otherwise the runs
    of the newer one fail."""

    def target(self, stream: str) -> dict[str, Any] | None:
        """Name the table that loads of the stream fill, as a JSON object without secrets.

        Configurations that fill the same table give equal objects. Nothing is connected to. None, the
        default: there is no table, or none that two pipelines could fill by mistake.
        """
        return None

    @abstractmethod
    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output as one: readers see all of it or none, whatever happens in between.

        The load id and the cursor are stored with the data in one transaction where the system has them, and
        `request.check_result` and `request.before_commit` are called right before it commits. Raises
        ConnectorError.
        """

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what the destination holds of the pipeline; None when it keeps no such record."""
        return None

    def advance(self, request: LoadRequest) -> bool:
        """Store the cursor and the load id of a run that found no new rows, and leave all rows as they are.

        It keeps to what `load` does: `continues`, `before_commit`, one transaction. Return False, the
        default, if the destination keeps no record, or has none of a load into this table.
        """
        return False
