"""dlt's sources and destinations (https://dlthub.com), for systems that Headrace has no connector for.

Needs the extra `headrace[dlt]`. Without it the connectors are listed, and say so when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors import (
    Checkpoint,
    ConnectorError,
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    ReadRequest,
    Source,
    Stream,
    SyncMode,
    plain_values,
)
from headrace.connectors.dlt.config import DltDestinationConfig, DltSourceConfig

if TYPE_CHECKING:
    import pyarrow as pa


class DltMissing(ConnectorError):
    """dlt is not installed beside Headrace."""

    code = "connector.dlt_missing"
    title = "dlt is not installed"
    hint = "Install headrace[dlt], with the extra of dlt that the system needs."


class DltSource(DltSourceConfig, Source):
    """One of dlt's sources, or one that is written with dlt; its resources are the streams.

    What the configuration leaves out dlt looks for in its own places: its variables and `.dlt` files.
    """

    name: ClassVar[str] = "dlt"
    title: ClassVar[str] = "dlt source"
    summary: ClassVar[str] = "Any source that is written with dlt."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    inclusive_reads: ClassVar[bool] = True

    def check(self) -> str:
        """Make the source, which may connect to its system."""
        return f"{self.source} has {len(self.streams())} resources."

    def streams(self) -> Sequence[Stream]:
        """The source's resources."""
        _require_dlt()
        from headrace.connectors.dlt.read import streams

        return streams(self)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | Checkpoint]:
        """Yield what the resource yields; with a cursor, what dlt's `incremental` finds after it."""
        _require_dlt()
        from headrace.connectors.dlt.read import read

        return read(self, request)


class DltDestination(DltDestinationConfig, Destination):
    """One of dlt's destinations. Names become as dlt writes them there: snake_case in most systems.

    dlt loads table after table and notes the load at the end: a cursor is never ahead of its data, but
    readers may see a load that is not complete where the destination has no `insert-from-staging`.
    """

    name: ClassVar[str] = "dlt"
    title: ClassVar[str] = "dlt destination"
    summary: ClassVar[str] = "Any destination of dlt's."

    def check(self) -> str:
        """Connect to the system."""
        _require_dlt()
        from headrace.connectors.dlt.load import check

        return check(self)

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by the destination's plain arguments."""
        place = plain_values(self, ("destination", "params", "dataset_name"))
        return place | {"system": "dlt", "table": self.table or stream}

    def load(self, request: LoadRequest) -> LoadResult:
        """Have dlt load the file; the load's id and cursor are in the state that dlt stores with it."""
        _require_dlt()
        from headrace.connectors.dlt.load import DltLoad

        return DltLoad(request=request, table=self.table or request.table, destination=self).run()

    def advance(self, request: LoadRequest) -> bool:
        """Have dlt load its state with an empty table."""
        _require_dlt()
        from headrace.connectors.dlt.load import DltLoad

        return DltLoad(request=request, table=self.table or request.table, destination=self).advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what dlt's state in the destination says."""
        _require_dlt()
        from headrace.connectors.dlt.load import last_load

        return last_load(self, pipeline_id)


def _require_dlt() -> None:
    if find_spec("dlt") is None:
        raise DltMissing("This connector needs dlt.")
