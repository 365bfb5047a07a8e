"""The sources of public APIs against servers that page as those do."""

from typing import Any

import pytest
from http_servers.public_apis import gbif, pokeapi
from http_servers.server import serving

from headrace.connectors import ReadRequest, Source
from headrace.connectors.apis.gbif import GbifSource, TooManyRecords
from headrace.connectors.apis.pokeapi import PokeapiSource


def records(source: Source, stream: str) -> list[dict[str, Any]]:
    return [record for page in source.read(ReadRequest(stream=stream)) for record in page]  # type: ignore[union-attr]


@pytest.mark.parametrize("stream", ["pokemon", "berry", "item"])
def test_pokeapi_is_read_to_the_last_page(stream: str):
    with serving(pokeapi) as server:
        source = PokeapiSource(base_url=f"{server.url}/api/v2", page_size=500)

        assert [record["name"] for record in records(source, stream)] == [f"n{n}" for n in range(1302)]
        assert source.check() == "PokéAPI answered with 500 berries."


@pytest.mark.parametrize(("stream", "page"), [("occurrence", 300), ("species", 1000)])
def test_gbif_is_read_to_the_last_page(stream: str, page: int):
    with serving(gbif(2345)) as server:
        source = GbifSource(base_url=f"{server.url}/v1", page_limit=1000, filters={"country": "FR"})

        assert [record["key"] for record in records(source, stream)] == list(range(2345))
        assert {asked.query["country"] for asked in server.asked} == {"FR"}
        assert {asked.query["limit"] for asked in server.asked} == {"0", str(page)}


def test_gbif_gives_the_first_records_when_that_is_asked_for():
    with serving(gbif(5_000_000)) as server:
        source = GbifSource(base_url=f"{server.url}/v1", max_records=1000)

        assert len(records(source, "occurrence")) == 1000


def test_gbif_does_not_pass_a_part_for_the_whole():
    with serving(gbif(100_001)) as server, pytest.raises(TooManyRecords, match="100,001 records match"):
        records(GbifSource(base_url=f"{server.url}/v1"), "occurrence")


def test_gbif_is_read_to_the_deepest_page_that_there_is():
    with serving(gbif(100_000)) as server:
        source = GbifSource(base_url=f"{server.url}/v1", page_limit=1000)

        assert len(records(source, "species")) == 100_000
