"""HubSpot's CRM objects. The configuration is checked; reading is not available yet."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from headrace.connectors.authentication import ApiKeyAuthentication, BearerAuthentication, OAuthAuthentication
from headrace.connectors.base import Checkpoint, ReadRequest, Section, Source, Stream, SyncMode
from headrace.connectors.unavailable import NotYetAvailable


class Properties(Section):
    """Which of an object's properties to read."""

    strategy: Literal["all", "selected"] = "all"
    selected_properties: list[str] | None = None


class HubspotSource(Source):
    """Contacts, companies and deals of one HubSpot account."""

    name: ClassVar[str] = "hubspot"
    title: ClassVar[str] = "HubSpot"
    summary: ClassVar[str] = "Contacts, companies and deals of a HubSpot account."

    authentication: Annotated[
        ApiKeyAuthentication | BearerAuthentication | OAuthAuthentication, Field(discriminator="type")
    ]
    properties: Properties = Properties()

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
            for name in ("contacts", "companies", "deals")
        )

    def check(self) -> str:
        """Raise NotYetAvailable."""
        raise NotYetAvailable(self.title)

    def read(self, request: ReadRequest) -> Iterator[list[dict[str, Any]] | Checkpoint]:
        """Raise NotYetAvailable."""
        raise NotYetAvailable(self.title)
