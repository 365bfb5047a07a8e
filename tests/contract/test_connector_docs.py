"""The connectors' pages hold working examples and name every key."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from http_servers.server import Answer, Asked, serving
from pydantic import BaseModel

from headrace.connectors import Checkpoint, ReadRequest
from headrace.connectors.apis.gbif import GbifSource
from headrace.connectors.apis.hubspot.config import Properties
from headrace.connectors.apis.hubspot.connector import HubspotSource
from headrace.connectors.apis.notion.connector import NotionSource
from headrace.connectors.apis.pokeapi import PokeapiSource
from headrace.connectors.bigquery.config import ServiceAccount, TimePartitioning
from headrace.connectors.bigquery.connector import BigQueryStreamingDestination
from headrace.connectors.dlt.connector import DltDestination, DltSource
from headrace.connectors.duckdb.connector import DuckDBDestination, DuckDBSource
from headrace.connectors.dummy import DummySource
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.kit.stores.config import AzureStorage, GcsStorage, S3Storage
from headrace.connectors.logger import LoggerDestination
from headrace.connectors.mysql.connector import MySQLDestination, MySQLSource
from headrace.connectors.postgres.connector import PostgresDestination, PostgresSource
from headrace.connectors.python.connector import PythonSource
from headrace.connectors.rest.config import Incremental, Resource, ResponseAction
from headrace.connectors.rest.connector import RestSource
from headrace.connectors.rest.paginators import Auto, Cursor, HeaderLink, JsonLink, Offset, PageNumber
from headrace.connectors.sqlite.connector import SQLiteDestination, SQLiteSource
from headrace.pipeline.document import parse_config

FOLDER = Path(__file__).parents[2] / "docs" / "connectors"
PAGES = sorted(FOLDER.glob("*.md"))
KEYS: dict[str, list[type[BaseModel]]] = {
    "rest.md": [
        *(RestSource, Resource, Incremental, ResponseAction, Limits),
        *(Auto, Cursor, PageNumber, Offset, HeaderLink, JsonLink),
    ],
    "hubspot.md": [HubspotSource, Properties],
    "file.md": [FileDestination],
    "files.md": [FilesSource, S3Storage, GcsStorage, AzureStorage],
    "mysql.md": [MySQLSource, MySQLDestination],
    "bigquery.md": [BigQueryStreamingDestination, ServiceAccount, TimePartitioning],
    "dlt.md": [DltSource, DltDestination],
    "python.md": [PythonSource],
    "dummy-and-logger.md": [DummySource, LoggerDestination],
    "postgres.md": [PostgresSource, PostgresDestination],
    "duckdb.md": [DuckDBSource, DuckDBDestination, SQLiteSource, SQLiteDestination],
    "notion.md": [NotionSource],
    "public-apis.md": [PokeapiSource, GbifSource],
}


def examples(page: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)]


def keys(page: str) -> Iterator[str]:
    for model in KEYS[page]:
        for name, field in model.model_fields.items():
            yield field.alias or name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_is_a_valid_pipeline(page: Path):
    for example in examples(page):
        if "source" in example:
            parse_config(example)


@pytest.mark.parametrize("page", list(KEYS))
def test_a_page_names_every_key(page: str):
    text = (FOLDER / page).read_text()

    assert {key for key in keys(page) if f"`{key}`" not in text and f'"{key}"' not in text} == set()


def _blog(asked: Asked) -> Answer:
    """What the examples of rest.md ask for."""
    match asked.path.strip("/").split("/"):
        case ["contacts"]:
            more = {} if "after" in asked.query else {"paging": {"next": {"after": "2"}}}
            return Answer(body={"results": [{"id": asked.query.get("after", "1")}]} | more)
        case ["orders"] if asked.query["updated_since"] == "2024-01-01T00:00:00Z":
            page = int(asked.query["page"])
            order = {"id": page, "updated_at": f"2024-0{page}-02T00:00:00Z"}
            return Answer(body={"data": [order], "meta": {"pages": 2}})
        case ["posts"]:
            return Answer(body=[{"id": 1, "title": "One"}, {"id": 2, "title": "Two"}])
        case ["posts", "1", "comments"]:
            return Answer(body=[{"id": 7}])
    return Answer(status=404)


def test_the_rest_examples_read_what_the_page_says():
    found = []
    with serving(_blog) as server:
        for example in examples(FOLDER / "rest.md"):
            config = parse_config(example | {"source": example["source"] | {"base_url": server.url}})
            request = ReadRequest(
                stream=config.stream, sync_mode=config.sync_mode, cursor_field=config.cursor_field
            )
            items = [item for item in config.source.read(request) if not isinstance(item, Checkpoint)]
            pages = [item.to_pylist() if isinstance(item, pa.RecordBatch) else item for item in items]
            found.append([record for page in pages for record in page])

    assert found == [
        [{"id": "1"}, {"id": "2"}],
        [{"id": n, "updated_at": f"2024-0{n}-02T00:00:00Z"} for n in (1, 2)],
        [{"id": 7, "_posts_title": "One"}],
    ]
