"""HubSpot's CRM objects, through version 3 of its CRM API: docs/connectors/hubspot.md shows how."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, SyncMode, plain_values
from headrace.connectors.apis.hubspot.config import OBJECTS, HubspotConfig


class HubspotSource(HubspotConfig, Source):
    """Contacts, companies and deals of one HubSpot account."""

    name: ClassVar[str] = "hubspot"
    title: ClassVar[str] = "HubSpot"
    summary: ClassVar[str] = "Contacts, companies and deals of a HubSpot account."
    inclusive_reads: ClassVar[bool] = True

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """The three objects; `updatedAt` moves with each change."""
        return tuple(
            Stream(
                name=name,
                sync_modes=(SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL),
                primary_key=("id",),
                cursor_field="updatedAt",
            )
            for name in OBJECTS
        )

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the API and what is chosen of it."""
        return plain_values(self, ("base_url", "archived"))

    def check(self) -> str:
        """Read one record of an object that the credentials may read. Raises ConnectorError."""
        from headrace.connectors.apis.hubspot.read import check

        return check(self)

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the object's records page by page, and the place to go on from at the end."""
        from headrace.connectors.apis.hubspot.read import read

        return read(self, request)
