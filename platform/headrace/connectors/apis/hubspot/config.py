"""The configuration of HubSpot."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.http.authentication import (
    ApiKeyAuthentication,
    BearerAuthentication,
    OAuthAuthentication,
)
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.rest.api import BaseUrl

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


class HubspotConfig(Section):
    """One account, and what to read of its objects."""

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
