"""dlt's sources and destinations (https://dlthub.com), for systems that Headrace has no connector for.

Needs the extra `headrace[dlt]`. Without it the connectors are listed, and say so when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr

from headrace.connectors.base import (
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
)

if TYPE_CHECKING:
    import pyarrow as pa

_PARAMS = "Its arguments, by name."
_SECRETS = "Further arguments, kept secret. A dot leads into `params`: `credentials.password`."


class DltMissing(ConnectorError):
    """dlt is not installed beside Headrace."""

    code = "connector.dlt_missing"
    title = "dlt is not installed"
    hint = "Install headrace[dlt], with the extra of dlt that the system needs."


class DltSource(Source):
    """One of dlt's sources, or one that is written with dlt; its resources are the streams.

    What the configuration leaves out dlt looks for in its own places: its variables and `.dlt` files.
    """

    name: ClassVar[str] = "dlt"
    title: ClassVar[str] = "dlt source"
    summary: ClassVar[str] = "Any source that is written with dlt."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    address_fields: ClassVar[tuple[str, ...]] = ("source", "params")

    source: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        max_length=300,
        description="`module:name` of what is decorated with @dlt.source or @dlt.resource, such as "
        "`dlt.sources.sql_database:sql_database`.",
    )
    params: dict[str, Any] = Field({}, description=_PARAMS)
    secrets: dict[str, SecretStr] = Field({}, description=_SECRETS)

    def check(self) -> str:
        """Make the source, which may connect to its system."""
        return f"{self.source} has {len(self.streams())} resources."

    def streams(self) -> Sequence[Stream]:
        """The source's resources."""
        _require_dlt()
        from headrace.connectors import dlt_read

        return dlt_read.streams(self)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | Checkpoint]:
        """Yield what the resource yields; with a cursor, what dlt's `incremental` finds after it."""
        _require_dlt()
        from headrace.connectors import dlt_read

        return dlt_read.read(self, request)


class DltDestination(Destination):
    """One of dlt's destinations. Names become as dlt writes them there: snake_case in most systems.

    dlt loads table after table and notes the load at the end: a cursor is never ahead of its data, but
    readers may see a load that is not complete where the destination has no `insert-from-staging`.
    """

    name: ClassVar[str] = "dlt"
    title: ClassVar[str] = "dlt destination"
    summary: ClassVar[str] = "Any destination of dlt's."
    address_fields: ClassVar[tuple[str, ...]] = ("destination", "params")

    destination: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="Its name in dlt, such as `snowflake`."
    )
    params: dict[str, Any] = Field({}, description=_PARAMS)
    secrets: dict[str, SecretStr] = Field({}, description=_SECRETS)
    dataset_name: str = Field("headrace", min_length=1, description="Schema or dataset of the tables.")
    table: str | None = Field(None, min_length=1, description="The table; the stream's name when absent.")

    def check(self) -> str:
        """Connect to the system."""
        _require_dlt()
        from headrace.connectors import dlt_load

        return dlt_load.check(self)

    def load(self, request: LoadRequest) -> LoadResult:
        """Have dlt load the file; the load's id and cursor are in the state that dlt stores with it."""
        _require_dlt()
        from headrace.connectors import dlt_load

        return dlt_load.load(self, request)

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what dlt's state in the destination says."""
        _require_dlt()
        from headrace.connectors import dlt_load

        return dlt_load.last_load(self, pipeline_id)


def arguments(params: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> dict[str, Any]:
    """Return the arguments of both, each secret at the place that its dotted name leads to."""
    merged = _copied(params)
    for path, secret in secrets.items():
        *parents, name = path.split(".")
        place = merged
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConnectorError(f"`params` has no section {parent!r} for a secret.")
            place = inner
        place[name] = secret.get_secret_value()
    return merged


def _copied(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in section.items()}


def _require_dlt() -> None:
    if find_spec("dlt") is None:
        raise DltMissing("This connector needs dlt.")
