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
    max_iterations: int | None = None  # pages or batches at most, for trials
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("headrace.connector"))
    check: Callable[[], None] = lambda: None  # raises when the run must end: for sources that wait
    warn: Warn = log_warning  # what the source leaves out, changes or cannot promise


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Says that everything up to `cursor` has been yielded: a run may end or resume here."""

    cursor: Cursor


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
