"""Notion's users, databases, pages and blocks, through version 2022-06-28 of its API."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from headrace.connectors.authentication import ApiKeyAuthentication, BearerAuthentication, OAuthAuthentication
from headrace.connectors.base import Checkpoint, ReadRequest, Source, Stream, SyncMode
from headrace.connectors.http_limits import Limits
from headrace.connectors.rest_api import BaseUrl

_BOTH = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
_EDITED = "last_edited_time"


class NotionSource(Source):
    """What an integration was given access to in one Notion workspace."""

    name: ClassVar[str] = "notion"
    title: ClassVar[str] = "Notion"
    summary: ClassVar[str] = "Users, databases, pages and blocks of a Notion workspace."
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

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """Pages and databases tell when they were edited, to the minute."""
        return (
            Stream(name="users", primary_key=("id",)),
            Stream(name="databases", sync_modes=_BOTH, primary_key=("id",), cursor_field=_EDITED),
            Stream(name="pages", sync_modes=_BOTH, primary_key=("id",), cursor_field=_EDITED),
            Stream(name="blocks", primary_key=("id",)),
        )

    def check(self) -> str:
        """Ask who the integration is. Raises ConnectorError."""
        from headrace.connectors import notion_read

        return notion_read.check(self)

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the stream's pages of objects."""
        from headrace.connectors import notion_read

        return notion_read.read(self, request)
