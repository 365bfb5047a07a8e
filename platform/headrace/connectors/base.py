"""What a source and a destination are. A connector is one file: a model that is its own config.

Modules of connectors import their drivers and pyarrow inside the methods that connect: the REST service
validates configurations with these classes and never moves a row.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

Cursor = Any
"""A position in a stream as a JSON value (string, number or object); it orders within one stream only."""

WriteDisposition = Literal["replace", "append", "merge"]
SchemaContract = Literal["evolve", "freeze"]
_BATCH_BYTES = 16 * 1024 * 1024  # before compression, as Parquet encodes them


class ConnectorError(HeadraceError):
    """A source or a destination failed. The detail is fit for a user's eyes and holds no secret.

    Raise it `from None` where the cause's text or arguments may hold one (drivers put connection strings and
    parameters there). `temporary` says that the same run may succeed later, unchanged.
    """

    code = "connector.failed"
    title = "Connector failed"
    temporary: ClassVar[bool] = False


class Unreachable(ConnectorError):
    """The system did not answer: name resolution, connection, time-out, or its own 5xx."""

    code = "connector.unreachable"
    title = "System unreachable"
    hint = "Check the address, the network and that the system is up; then run again."
    temporary = True


class Unauthorized(ConnectorError):
    """The system refused the credentials, or what they may do."""

    code = "connector.unauthorized"
    title = "Credentials refused"
    hint = "Check the credentials of the pipeline and what they are allowed to read or write."


class Unreadable(ConnectorError):
    """The source answered with something that is not what the connector reads."""

    code = "source.unreadable"
    title = "Unreadable source"


class Rejected(ConnectorError):
    """The destination did not take the data: a schema conflict, a constraint, a limit."""

    code = "destination.rejected"
    title = "Destination rejected the data"


class SchemaConflict(Rejected):
    """A column of the data does not fit the table's, and no widening keeps the values of both."""

    code = "destination.schema_conflict"
    title = "Schema conflict"
    hint = "Cast the column with a transform, change the table yourself, or load into another table."

    def __init__(self, column: str, detail: str) -> None:
        super().__init__(f"Column {column!r} {detail}", context={"column": column})


class SchemaFrozen(SchemaConflict):
    """The data needs another table than the one that is there, and the pipeline's contract keeps that one."""

    code = "destination.schema_frozen"
    title = "Schema is frozen"
    hint = "Change the table yourself, leave the column out with a transform, or let the schema evolve."


class SyncMode(StrEnum):
    """How much of a stream a run reads."""

    FULL_REFRESH = "full_refresh"  # all of it; the destination's table is replaced as one
    INCREMENTAL = "incremental"  # what comes after the cursor; appended, or merged on the primary key


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One table-like thing that a source can read."""

    name: str
    description: str = ""
    sync_modes: tuple[SyncMode, ...] = (SyncMode.FULL_REFRESH,)
    primary_key: tuple[str, ...] = ()
    cursor_field: str | None = None  # None with incremental: the pipeline must name one
    checkpointed: bool = False  # the source's own checkpoints are the only cursors; there is no cursor field


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """What a run asks of a source."""

    stream: str
    sync_mode: SyncMode = SyncMode.FULL_REFRESH
    cursor_field: str | None = None
    cursor: Cursor | None = None  # read what comes after it; None: from the start
    max_iterations: int | None = None  # pages or batches at most, for trials
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace.connector"))
    check: Callable[[], None] = lambda: None  # raises when the run must end: for sources that wait


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Says that everything up to `cursor` has been yielded: a run may end or resume here."""

    cursor: Cursor


Batch = "pa.RecordBatch | list[dict[str, Any]]"


class Section(BaseModel):
    """A part of a configuration. Unknown keys are refused; secrets are `SecretStr` fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    address_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that decide where secrets are sent: a masked secret is not kept when one of them changes."""

    takes_references: ClassVar[bool] = True
    """Whether a value may be a reference: it is then checked in the run's worker, which resolves it."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Pydantic allows no validator where it tells the members of a union apart, which is by `type` here.
        own = [name for name in get_annotations(cls) if name != "type"]
        if own and cls.takes_references:
            validator = field_validator(*own, mode="wrap", check_fields=False)(classmethod(_or_reference))
            # Under a name of its own, so that it stands outside the validators of the class itself.
            setattr(cls, f"_or_reference_{cls.__name__}", validator)


def _or_reference(
    cls: type[Section], value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    """Let a reference pass where its text is no valid value: only what it stands for can be judged."""
    try:
        return check(value)
    except ValidationError:
        from headrace.connectors.references import refers  # here, since it stands on this module

        declared = cls.model_fields[str(info.field_name)].annotation
        is_secret = SecretStr in (declared, *get_args(declared))
        if isinstance(value, str) and refers(value, is_secret=is_secret):
            return SecretStr(value) if is_secret else value
        raise


class Connector(Section):
    """A configured connection to one system."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""

    def check(self) -> str:
        """Connect, authenticate, and return a sentence about what was found.

        Raises ConnectorError when the system cannot be used with this configuration.
        """
        return "Nothing to connect to."


class Source(Connector, ABC):
    """Where records come from."""

    dynamic_streams: ClassVar[bool] = False
    """Whether the streams depend on what is connected to, so that any stream's name may be valid."""

    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH,)
    """The sync modes of streams that are not known before connecting."""

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """The streams that are known without connecting; empty where they depend on the system."""
        return ()

    def declared(self, stream: str) -> Stream | None:
        """Return what this configuration alone says of a stream; None when there is no such stream."""
        for known in self.known_streams():
            if known.name == stream:
                return known
        return Stream(name=stream, sync_modes=self.dynamic_sync_modes) if self.dynamic_streams else None

    def streams(self) -> Sequence[Stream]:
        """The streams that can be read, asked of the system where they depend on it."""
        return self.known_streams()

    def describe(self, stream: str) -> Stream:
        """Return one stream's keys and modes; a connector with many streams overrides it with one look-up.

        Raises Unreadable when there is no such stream, and ConnectorError when the system cannot be asked.
        """
        for known in self.streams():
            if known.name == stream:
                return known
        raise Unreadable(f"There is no stream {stream!r}.")

    @abstractmethod
    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the stream's batches after the cursor, oldest first where the stream has a cursor.

        A batch is Arrow's, a list of records, or the text of one (`json_text.JsonRecords`).

        Reading again from the same cursor gives the same rows or more. Raises ConnectorError.
        """


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
    cursor: Cursor | None = None  # stored with the data, in the same transaction
    schema_contract: SchemaContract = "evolve"  # freeze: a table that is there keeps its columns and types
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace.connector"))
    progress: Callable[[int], None] = lambda rows: None  # rows loaded so far
    before_commit: Callable[[], None] = lambda: None  # raises when the run is no longer this worker's


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did."""

    rows: int
    location: str  # where the data is now, for people: "postgres: analytics.public.contacts"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What the destination says was last loaded for a pipeline."""

    load_id: str
    cursor: Cursor | None


class Destination(Connector, ABC):
    """Where records go."""

    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace", "append", "merge")

    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve",)
    """What the destination can promise of a table's schema; `freeze` needs a table to hold the data to."""

    @abstractmethod
    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output as one: readers see all of it or none, whatever happens in between.

        The load id and the cursor are stored with the data in one transaction where the system has them, and
        `request.before_commit` is called right before it commits. Raises ConnectorError.
        """

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what the destination holds of the pipeline; None when it keeps no such record."""
        return None


def cursor_text(cursor: Cursor) -> str:
    """Write a cursor down as JSON, the form in which it is stored."""
    return json.dumps(cursor, separators=(",", ":"), sort_keys=True)


def json_schema(connector: type[Connector]) -> Mapping[str, Any]:
    """Return the JSON Schema (2020-12) of a connector's configuration; secrets are `writeOnly`."""
    return connector.model_json_schema(by_alias=False)
