"""Any REST API that answers with JSON, by declaration: docs/connectors/rest.md shows how."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, SyncMode, Unreadable, plain_values
from headrace.connectors.rest.api import RestApi


class RestSource(Source, RestApi):
    """The lists of a REST API."""

    name: ClassVar[str] = "rest"
    title: ClassVar[str] = "REST API"
    summary: ClassVar[str] = "Lists of any REST API that answers with JSON."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    inclusive_reads: ClassVar[bool] = True
    address_fields: ClassVar[tuple[str, ...]] = RestApi.address_fields

    def declared(self, stream: str) -> Stream | None:
        """Return what the configuration says of a stream."""
        try:
            resource = self.resource(stream)
        except Unreadable:
            return None
        incremental = resource.endpoint.incremental
        return Stream(
            name=stream,
            sync_modes=self.dynamic_sync_modes,
            primary_key=resource.primary_key,
            cursor_field=incremental.cursor_path if incremental else None,
        )

    def origin(self, stream: str) -> dict[str, Any]:
        """Name what is asked for: the API and the stream's request, and those of the streams it stands on."""
        requests = []
        name: str | None = stream
        while name is not None:
            resource = self.resource(name)
            requests.append(plain_values(resource.endpoint, ("path", "method", "params", "json_body")))
            name = resource.parent
        return {"base_url": self.base_url, "requests": requests}

    def streams(self) -> Sequence[Stream]:
        """The resources; none where the pipeline gives the one endpoint its name."""
        return [found for resource in self.resources if (found := self.declared(resource.name))]

    def describe(self, stream: str) -> Stream:
        """Return what the configuration says of a stream. Raises Unreadable when it is none of them."""
        found = self.declared(stream)
        if found is None:
            raise Unreadable(f"There is no stream {stream!r}.")
        return found

    def check(self) -> str:
        """Ask for a first page. Raises ConnectorError."""
        from headrace.connectors.rest.read import first_page

        stream = next((resource.name for resource in self.resources if not resource.parent), "records")
        return f"The first page has {len(first_page(self, stream))} records."

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the pages of the stream, the next one being fetched meanwhile."""
        from headrace.connectors.rest.read import read

        return read(self, request)
