"""Notion's users, databases, pages and blocks, through version 2022-06-28 of its API."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, SyncMode, plain_values
from headrace.connectors.apis.notion.config import NotionConfig

_BOTH = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
_EDITED = "last_edited_time"


class NotionSource(NotionConfig, Source):
    """What an integration was given access to in one Notion workspace."""

    name: ClassVar[str] = "notion"
    title: ClassVar[str] = "Notion"
    summary: ClassVar[str] = "Users, databases, pages and blocks of a Notion workspace."
    inclusive_reads: ClassVar[bool] = True

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """Pages and databases tell when they were edited, to the minute."""
        return (
            Stream(name="users", primary_key=("id",)),
            Stream(name="databases", sync_modes=_BOTH, primary_key=("id",), cursor_field=_EDITED),
            Stream(name="pages", sync_modes=_BOTH, primary_key=("id",), cursor_field=_EDITED),
            Stream(name="blocks", primary_key=("id",)),
        )

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the API and what is chosen of it."""
        return plain_values(self, ("base_url", "database_ids"))

    def check(self) -> str:
        """Ask who the integration is. Raises ConnectorError."""
        from headrace.connectors.apis.notion.read import check

        return check(self)

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the stream's pages of objects."""
        from headrace.connectors.apis.notion.read import read

        return read(self, request)
