"""PokéAPI, a public API without credentials: good for a first pipeline over the network."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, Unreadable
from headrace.connectors.kit.http.authentication import Authentication
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.rest.api import BaseUrl, RestApi

_STREAMS = (
    *("ability", "berry", "berry-firmness", "berry-flavor", "characteristic", "contest-effect"),
    *("contest-type", "egg-group", "encounter-condition", "encounter-method", "evolution-chain"),
    *("evolution-trigger", "gender", "generation", "growth-rate", "item", "item-attribute", "item-category"),
    *("item-fling-effect", "item-pocket", "language", "location", "location-area", "machine", "move"),
    *("move-ailment", "move-category", "move-damage-class", "move-learn-method", "move-target", "nature"),
    *("pal-park-area", "pokeathlon-stat", "pokedex", "pokemon", "pokemon-color", "pokemon-form"),
    *("pokemon-habitat", "pokemon-shape", "pokemon-species", "region", "stat", "super-contest-effect"),
    *("type", "version", "version-group"),
)


class PokeapiSource(Source):
    """The lists of PokéAPI: a name, where the resource has one, and a URL for each resource."""

    name: ClassVar[str] = "pokeapi"
    title: ClassVar[str] = "PokéAPI"
    summary: ClassVar[str] = "Pokémon, berries, items and more; public and without credentials."
    address_fields: ClassVar[tuple[str, ...]] = ("base_url",)

    authentication: Authentication | None = Field(None, description="Accepted and not needed.")
    page_size: int = Field(100, ge=1, le=1000, description="Resources to ask for at once.")
    base_url: BaseUrl = Field("https://pokeapi.co/api/v2", description="Where the API is.")
    limits: Limits = Limits()

    @classmethod
    def known_streams(cls) -> Sequence[Stream]:
        """One stream for each of the API's endpoints."""
        return tuple(Stream(name=name, primary_key=("url",)) for name in _STREAMS)

    def check(self) -> str:
        """Ask for a page of berries. Raises ConnectorError."""
        from headrace.connectors.rest.read import first_page

        return f"PokéAPI answered with {len(first_page(self._api('berry'), 'berry'))} berries."

    def read(self, request: ReadRequest) -> Iterator[Sequence[dict[str, Any]] | Checkpoint]:
        """Yield the list's pages."""
        from headrace.connectors.rest.read import read

        if self.declared(request.stream) is None:
            raise Unreadable(f"There is no stream {request.stream!r}.")
        return read(self._api(request.stream), request)

    def _api(self, stream: str) -> RestApi:
        return RestApi.model_validate(
            {
                "base_url": self.base_url,
                "path": stream,
                "params": {"limit": self.page_size},
                "data_selector": "results",
                "paginator": {"type": "json_link", "next_url_path": "next"},
                "limits": self.limits,
            }
        )
