"""HubSpot's CRM objects, through version 3 of its CRM API: docs/connectors/hubspot.md shows how."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors.authentication import ApiKeyAuthentication, BearerAuthentication, OAuthAuthentication
from headrace.connectors.base import Checkpoint, ReadRequest, Section, Source, Stream, SyncMode
from headrace.connectors.http_limits import Limits
from headrace.connectors.rest_api import BaseUrl

OBJECTS = ("contacts", "companies", "deals")


class Properties(Section):
    """Which of an object's properties to read."""

    strategy: Literal["all", "selected"] = "all"
    selected_properties: list[str] | None = None

    @model_validator(mode="after")
    def _check_selection(self) -> Self:
        if self.strategy == "selected" and not self.selected_properties:
            raise PydanticCustomError("selection", "The strategy 'selected' needs selected_properties.")
        return self


class HubspotSource(Source):
    """Contacts, companies and deals of one HubSpot account."""

    name: ClassVar[str] = "hubspot"
    title: ClassVar[str] = "HubSpot"
    summary: ClassVar[str] = "Contacts, companies and deals of a HubSpot account."
    address_fields: ClassVar[tuple[str, ...]] = ("base_url",)

    authentication: Annotated[
        ApiKeyAuthentication | BearerAuthentication | OAuthAuthentication, Field(discriminator="type")
    ]
    properties: Properties = Properties()
    archived: bool = Field(False, description="Whether to read archived records too.")
    associations: tuple[str, ...] = Field(
        (), description="Objects whose links to each record to read, such as 'companies'."
    )
    lookback_seconds: float = Field(
        60.0, ge=0, description="How far behind the cursor to look: HubSpot's search lags behind changes."
    )
    base_url: BaseUrl = Field("https://api.hubapi.com", description="Where the API is.")
    limits: Limits = Limits()

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

    def check(self) -> str:
        """Read one record of an object that the credentials may read. Raises ConnectorError."""
        from headrace.connectors import hubspot_read

        return hubspot_read.check(self)

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the object's records page by page, and the place to go on from at the end."""
        from headrace.connectors import hubspot_read

        return hubspot_read.read(self, request)
