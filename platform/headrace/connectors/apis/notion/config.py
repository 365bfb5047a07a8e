"""The configuration of Notion."""

from typing import Annotated, ClassVar

from pydantic import Field

from headrace.connectors import Section
from headrace.connectors.kit.http.authentication import (
    ApiKeyAuthentication,
    BearerAuthentication,
    OAuthAuthentication,
)
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.rest.api import BaseUrl


class NotionConfig(Section):
    """One workspace, and what to read of it."""

    address_fields: ClassVar[tuple[str, ...]] = ("base_url",)

    authentication: Annotated[
        ApiKeyAuthentication | BearerAuthentication | OAuthAuthentication, Field(discriminator="type")
    ]
    database_ids: tuple[str, ...] = Field(
        (), description="Databases whose pages to read; empty: all that the integration sees."
    )
    page_size: int = Field(100, ge=1, le=100, description="Objects to ask for at once; Notion gives 100.")
    base_url: BaseUrl = Field("https://api.notion.com/v1", description="Where the API is.")
    limits: Limits = Limits()
