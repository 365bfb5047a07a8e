"""GBIF, the Global Biodiversity Information Facility: search without credentials.

https://techdocs.gbif.org/en/openapi/ has the parameters and the limits that are named here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, Unreadable, plain_values
from headrace.connectors.kit.http.authentication import Authentication
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.rest.api import BaseUrl, RestApi

_LARGEST_PAGE = {"occurrence": 300, "species": 1000}
_DEEPEST = 100_000  # offset and limit together; for more, GBIF offers downloads that it prepares


class TooManyRecords(Unreadable):
    """More records match than GBIF's search lets anybody read."""

    code = "source.too_many_records"
    title = "Search has too many results"
    hint = "Narrow the search with `filters`, or say with `max_records` that the first ones are enough."


class GbifSource(Source):
    """What a search of GBIF finds."""

    name: ClassVar[str] = "gbif"
    title: ClassVar[str] = "GBIF"
    summary: ClassVar[str] = "Occurrences and species of living things; public and without credentials."
    address_fields: ClassVar[tuple[str, ...]] = ("base_url",)

    authentication: Authentication | None = Field(None, description="Accepted and not needed.")
    filters: dict[str, str | int | float | bool | list[str | int | float]] = Field(
        {}, description="The search's parameters, such as country or taxonKey."
    )
    max_records: int | None = Field(None, ge=1, le=_DEEPEST, description="Records to read at most.")
    page_limit: int = Field(300, ge=1, le=1000, description="Records to ask for at once.")
    base_url: BaseUrl = Field("https://api.gbif.org/v1", description="Where the API is.")
    limits: Limits = Limits()

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """The two searches."""
        return tuple(Stream(name=name, primary_key=("key",)) for name in _LARGEST_PAGE)

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the API and what is chosen of it."""
        return plain_values(self, ("base_url", "filters"))

    def check(self) -> str:
        """Search for species. Raises ConnectorError."""
        from headrace.connectors.rest.read import first_page

        return f"GBIF answered with {len(first_page(self._api('species'), 'species'))} species."

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the results' pages. Raises TooManyRecords before the first when all cannot be read."""
        from headrace.connectors.rest.read import read

        if self.declared(request.stream) is None:
            raise Unreadable(f"There is no stream {request.stream!r}.")
        if self.max_records is None:
            self._check_count(request.stream)
        left = self.max_records or _DEEPEST
        for item in read(self._api(request.stream), replace(request, cursor=None)):
            if isinstance(item, Checkpoint):
                continue
            yield item[:left]
            left -= len(item)
            if left <= 0:
                return

    def _check_count(self, stream: str) -> None:
        from headrace.connectors.rest.read import first_page

        found = first_page(self._api(stream, data_selector="count", limit=0), stream)
        count = found[0].get("value") if found else None
        if isinstance(count, int) and count > _DEEPEST:
            raise TooManyRecords(f"{count:,} records match, and search gives the first {_DEEPEST:,}.")

    def _api(self, stream: str, *, data_selector: str = "results", limit: int | None = None) -> RestApi:
        page = min(self.page_limit, _LARGEST_PAGE[stream]) if limit is None else limit
        paging = {"type": "offset", "limit": page, "total_path": "count", "maximum_offset": _DEEPEST}
        return RestApi.model_validate(
            {
                "base_url": self.base_url,
                "path": f"{stream}/search",
                "params": {**self.filters, **({"limit": 0} if limit == 0 else {})},
                "data_selector": data_selector,
                "paginator": paging if page else "single_page",
                "limits": self.limits,
            }
        )
