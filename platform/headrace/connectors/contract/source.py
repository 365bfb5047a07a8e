"""What a source is: where a run's records come from."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors.contract.errors import Unreadable
from headrace.connectors.contract.section import Connector, plain_values
from headrace.connectors.contract.streams import Cursor, Stream, SyncMode
from headrace.connectors.contract.warnings import Warn, log_warning

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """What a run asks of a source."""

    stream: str
    sync_mode: SyncMode = SyncMode.FULL_REFRESH
    cursor_field: str | None = None
    cursor: Cursor | None = None  # read what comes after it; None: from the start
    inclusive: bool = False
    """Read the rows at the cursor, too: the engine leaves out those that were delivered before. A source that
    does so says `inclusive_reads`. Rows without a place in the cursor's order (null, NaN, infinity) are read
    by every run: the engine knows them again as well."""
    cursor_type: str | None = (
        None  # the order that is declared for the cursor, or was found by an earlier run
    )
    known_ties: int | None = None
    """How many rows at the cursor were delivered, where they are too many to be known one by one: a source
    that can count leaves them out while the stream holds just so many."""
    known_nulls: int | None = None  # the same of rows without a place in the order
    lookback: float | None = None  # how far below the last cursor `cursor` lies, by the pipeline's config
    merges: bool = False  # rows are merged on a key, so that one may be given twice
    position: dict[str, Any] | None = None  # what the last run's `Checkpoint` said beside the cursor
    told_apart: Callable[[], None] = lambda: None
    """A source calls it before its first batch where it gives no row that was delivered before, as told from
    its own `position`: the engine then leaves nothing out."""
    max_iterations: int | None = None  # pages or batches at most, for trials
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace.connector"))
    check: Callable[[], None] = lambda: None  # raises when the run must end: for sources that wait
    warn: Warn = log_warning  # what the source leaves out, changes or cannot promise


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Says that everything up to `cursor` has been yielded: a run may end or resume here."""

    cursor: Cursor
    position: dict[str, Any] | None = None  # JSON that the next run's request brings back


class Source(Connector, ABC):
    """Where records come from."""

    dynamic_streams: ClassVar[bool] = False
    """Whether the streams depend on what is connected to, so that any stream's name may be valid."""

    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH,)
    """The sync modes of streams that are not known before connecting."""

    inclusive_reads: ClassVar[bool] = False
    """Whether `read` honours `request.inclusive`. Without it a row that comes later with the cursor's own
    value is not read, and the run's log says so."""

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

    def origin(self, stream: str) -> dict[str, Any]:
        """Say which data the stream is, as a JSON object without secrets.

        A cursor belongs to its origin: configurations that read the same data give equal objects, whatever
        else differs in them (credentials, page sizes). The default is the values of `address_fields`.
        """
        return plain_values(self, self.address_fields)

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
