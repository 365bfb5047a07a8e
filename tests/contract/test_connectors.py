"""What every source and every destination keeps to. A new connector adds one line to a table below.

The promises are those of headrace.conformance, which any connector's author runs as well.
"""

import csv
import gzip
import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes.bigquery import run_bigquery
from fakes.blob_stores import BUCKET, azure_storage, gcs_storage, run_azure, run_gcs
from http_servers.hubspot import FIRST_CHANGE, Portal, portal_server
from http_servers.notion import TOKEN as NOTION_TOKEN
from http_servers.notion import Workspace, workspace_server
from http_servers.public_apis import gbif, pokeapi
from http_servers.server import Answer, Asked, Server, serving
from http_servers.things import TOKEN, things
from outputs import request_for
from s3_server import S3Server

from headrace.conformance import configuration
from headrace.conformance.cases import Case, Check, DestinationCase, NotApplicable, SourceCase
from headrace.conformance.destinations import DESTINATION_CHECKS
from headrace.conformance.sources import SOURCE_CHECKS
from headrace.connectors import Connector, local, registry
from headrace.connectors.apis.gbif import GbifSource
from headrace.connectors.apis.hubspot.connector import HubspotSource
from headrace.connectors.apis.notion.connector import NotionSource
from headrace.connectors.apis.pokeapi import PokeapiSource
from headrace.connectors.bigquery.connector import BigQueryDestination
from headrace.connectors.duckdb.connector import DuckDBDestination, DuckDBSource
from headrace.connectors.dummy import DummySource
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.kit.stores import object_store
from headrace.connectors.kit.stores.config import store_url
from headrace.connectors.logger import LoggerDestination
from headrace.connectors.mysql.connector import MySQLDestination, MySQLSource
from headrace.connectors.postgres.connector import PostgresDestination, PostgresSource
from headrace.connectors.python.connector import PythonSource
from headrace.connectors.rest.connector import RestSource
from headrace.connectors.sqlite.connector import SQLiteDestination, SQLiteSource

ROWS = pa.table({"id": [1, 2, 3], "name": ["a", None, "c\u00e9"], "size": [1.5, None, -2.0]})
_THINGS = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(50), changed INTEGER)",
    *(f"INSERT INTO things VALUES ({n}, 'thing {n}', {n // 3})" for n in range(1, 41)),
)
_FUNCTION = """
def things(cursor, token):
    for number in range((cursor or 0) + 1, 21):
        thing = {"id": number, "name": f"thing {number}"}
        yield thing if number % 2 else [{**thing, "late": number / 3}]
"""
T = TypeVar("T")
Build = Callable[[Path, pytest.FixtureRequest], Case]


def _dummy(folder: Path, request: pytest.FixtureRequest) -> Case:
    return SourceCase(connector=DummySource(records=250), stream="creatures")


def _csv_files(folder: Path, request: pytest.FixtureRequest) -> Case:
    for number in range(1, 5):
        (folder / f"{number}.csv").write_text(f"id,name\n{number},a\n{number + 10},b\n")
    return SourceCase(connector=FilesSource(paths=(str(folder / "*.csv"),)), stream="things")


def _files_of_every_format(folder: Path, request: pytest.FixtureRequest) -> Case:
    for name, content in _every_format().items():
        (folder / name).write_bytes(content)
    source = FilesSource(paths=(str(folder / "**"),), file_column="file", primary_key=("id",))
    return SourceCase(connector=source, stream="things")


def _files_by_http(folder: Path, request: pytest.FixtureRequest) -> Case:
    def answer(asked: Asked) -> Answer:
        if asked.headers.get("x-key") != "correct-horse":
            return Answer(status=401)
        headers = {"Last-Modified": "Wed, 31 Jan 2024 10:00:00 GMT"}
        return Answer(body=_every_format()[asked.path.strip("/")], headers=headers)

    url = _started(serving(answer), request).url
    paths = [f"{url}/{name}" for name in _every_format()]
    keys = {"paths": paths, "headers": {"X-Key": "correct-horse"}, "primary_key": "id"}
    return SourceCase(connector=FilesSource.model_validate(keys), stream="things")


def _files_in_s3(folder: Path, request: pytest.FixtureRequest) -> Case:
    server: S3Server = request.getfixturevalue("s3_server")
    return _files_in("s3", server.fresh_bucket(), server.storage())


def _files_in_gcs(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _files_in("gs", BUCKET, gcs_storage(_entered(run_gcs(), request)))


def _files_in_azure(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _files_in("az", BUCKET, azure_storage(_entered(run_azure(), request)))


def _files_in(scheme: str, bucket: str, storage: dict[str, Any]) -> Case:
    keys = {"paths": f"{scheme}://{bucket}/in/**/*.*", "storage": storage, "primary_key": ["id"]}
    source = FilesSource.model_validate(keys)
    assert source.storage is not None
    with object_store.opened(source.storage, bucket) as store:
        for name, content in _every_format().items():
            store.write(f"in/2024/{name}", [content])
    return SourceCase(connector=source, stream="things")


def _every_format() -> dict[str, bytes]:
    rows = [{"id": number, "name": f"thing {number}", "size": number / 2} for number in range(4)]
    lines = b"".join(json.dumps(row | {"id": row["id"] + 10}).encode() + b"\n" for row in rows)
    table = pa.table({"id": [20, 21], "kind": pa.array(["x", "y"]).dictionary_encode()})
    sinks = {name: pa.BufferOutputStream() for name in ("parquet", "arrow")}
    pq.write_table(table, sinks["parquet"])
    with pa.ipc.new_file(sinks["arrow"], table.schema) as writer:
        writer.write_table(table.set_column(0, "id", pa.array([30, 31])))
    return {
        "a.csv.gz": gzip.compress(b"id,name\n40,a\n41,b\n"),
        "b.jsonl.zst": pa.compress(lines, "zstd", asbytes=True),
        "c.json": json.dumps(rows).encode(),
        "d.parquet": sinks["parquet"].getvalue().to_pybytes(),
        "e.arrow": sinks["arrow"].getvalue().to_pybytes(),
    }


def _function(folder: Path, request: pytest.FixtureRequest) -> Case:
    request.getfixturevalue("monkeypatch").setattr(local, "_folder", local.LocalFolder(folder))
    (folder / "mine.py").write_text(_FUNCTION)
    source = PythonSource(function="mine:things", secrets={"token": "hunter2-hunter2"}, primary_key=("id",))
    return SourceCase(connector=source, stream="things", cursor_field="id")


def _duckdb_tables(folder: Path, request: pytest.FixtureRequest) -> Case:
    with duckdb.connect(str(folder / "it.duckdb")) as connection:
        for statement in _THINGS:
            connection.execute(statement)
    source = DuckDBSource(path=str(folder / "it.duckdb"))
    return SourceCase(connector=source, stream="main.things", cursor_field="changed")


def _sqlite_tables(folder: Path, request: pytest.FixtureRequest) -> Case:
    with sqlite3.connect(folder / "it.sqlite") as connection:
        for statement in _THINGS:
            connection.execute(statement)
    connection.close()
    source = SQLiteSource(path=str(folder / "it.sqlite"))
    return SourceCase(connector=source, stream="things", cursor_field="changed")


def _postgres_tables(folder: Path, request: pytest.FixtureRequest) -> Case:
    url = _postgres_url(request)
    with psycopg.connect(url) as connection:
        for statement in _THINGS:
            connection.execute(statement.encode())
    return SourceCase(connector=PostgresSource(url=url), stream="public.things", cursor_field="changed")


def _rest_api(folder: Path, request: pytest.FixtureRequest) -> Case:
    keys = {
        "base_url": _started(serving(things), request).url,
        "authentication": {"type": "bearer", "params": {"token": TOKEN}},
        "paginator": {"type": "cursor", "cursor_path": "next", "cursor_param": "after"},
        "incremental": {"cursor_path": "changed", "start_param": "since", "row_order": "asc"},
        "primary_key": "id",
    }
    return SourceCase(connector=RestSource.model_validate(keys), stream="things")


def _hubspot_account(folder: Path, request: pytest.FixtureRequest) -> Case:
    portal = Portal()
    for number in range(1, 251):
        portal.add("contacts", number, FIRST_CHANGE + timedelta(minutes=5 * number))
    keys = {
        "base_url": _started(portal_server(portal), request).url,
        "authentication": {"type": "api_key", "params": {"token": portal.token}},
    }
    return SourceCase(connector=HubspotSource.model_validate(keys), stream="contacts")


def _notion_workspace(folder: Path, request: pytest.FixtureRequest) -> Case:
    workspace = Workspace()
    for number in range(60):
        workspace.add_page(number, f"2024-01-01T00:{number:02}:00.000Z")
    keys = {
        "base_url": f"{_started(workspace_server(workspace), request).url}/v1",
        "authentication": {"type": "api_key", "params": {"token": NOTION_TOKEN}},
        "page_size": 25,
    }
    return SourceCase(connector=NotionSource.model_validate(keys), stream="pages")


def _pokeapi(folder: Path, request: pytest.FixtureRequest) -> Case:
    url = _started(serving(pokeapi), request).url
    return SourceCase(connector=PokeapiSource(base_url=f"{url}/api/v2", page_size=1000), stream="berry")


def _gbif_search(folder: Path, request: pytest.FixtureRequest) -> Case:
    url = _started(serving(gbif(700)), request).url
    return SourceCase(connector=GbifSource(base_url=f"{url}/v1"), stream="occurrence")


def _parquet_file(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _local_files(folder, format="parquet")


def _json_file(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _local_files(folder, format="jsonl")


def _csv_file(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _local_files(folder, format="csv")


def _partitioned_files(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _local_files(folder, format="jsonl", partition_by="id")


def _local_files(folder: Path, **config: Any) -> Case:
    destination = FileDestination.model_validate({"path": str(folder), **config})

    def rows(table: str) -> list[dict[str, Any]]:
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return _rows_of(table, {name: (folder / name).read_bytes() for name in names})

    return DestinationCase(connector=destination, rows=rows)


def _file_in_s3(folder: Path, request: pytest.FixtureRequest) -> Case:
    server: S3Server = request.getfixturevalue("s3_server")
    return _stored_files(f"s3://{server.fresh_bucket()}/out", server.storage())


def _partitions_in_s3(folder: Path, request: pytest.FixtureRequest) -> Case:
    server: S3Server = request.getfixturevalue("s3_server")
    return _stored_files(f"s3://{server.fresh_bucket()}", server.storage(), partition_by="id", format="jsonl")


def _file_in_gcs(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _stored_files(f"gs://{BUCKET}/out", gcs_storage(_entered(run_gcs(), request)))


def _file_in_azure(folder: Path, request: pytest.FixtureRequest) -> Case:
    return _stored_files(f"az://{BUCKET}/out", azure_storage(_entered(run_azure(), request)))


def _stored_files(path: str, storage: dict[str, Any], **config: Any) -> Case:
    destination = FileDestination.model_validate({"path": path, "storage": storage, **config})
    url = store_url(path)

    def rows(table: str) -> list[dict[str, Any]]:
        assert destination.storage is not None
        with object_store.opened(destination.storage, url.bucket) as store:
            keys = [found.key for found in store.list(url.key)]
            return _rows_of(table, {key.removeprefix("out/"): store.read(key) for key in keys})

    return DestinationCase(connector=destination, rows=rows)


def _rows_of(table: str, files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Every row that a reader of all files of a table finds."""
    found: list[dict[str, Any]] = []
    for name, content in files.items():
        if name.partition("/")[0].partition(".")[0] != table:
            continue
        named = dict(part.split("=") for part in name.split("/") if "=" in part)
        if name.endswith(".parquet"):
            rows = pq.read_table(pa.BufferReader(content)).to_pylist()
        elif name.endswith(".csv"):
            rows = list(csv.DictReader(content.decode().splitlines()))
        else:
            rows = [json.loads(line) for line in content.splitlines()]
        found += [row | named for row in rows]
    return found


def _log(folder: Path, request: pytest.FixtureRequest) -> Case:
    return DestinationCase(connector=LoggerDestination())


def _duckdb_file(folder: Path, request: pytest.FixtureRequest) -> Case:
    path = str(folder / "it.duckdb")

    def rows(table: str) -> list[dict[str, Any]]:
        with duckdb.connect(path) as connection:
            return connection.sql(f"SELECT id FROM {table}").to_arrow_table().to_pylist()

    return DestinationCase(connector=DuckDBDestination(path=path), rows=rows)


def _sqlite_file(folder: Path, request: pytest.FixtureRequest) -> Case:
    path = folder / "it.sqlite"

    def rows(table: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(path)
        found = connection.execute(f"SELECT id FROM {table}").fetchall()
        connection.close()
        return [{"id": number} for (number,) in found]

    return DestinationCase(connector=SQLiteDestination(path=str(path)), rows=rows)


def _postgres_schema(folder: Path, request: pytest.FixtureRequest) -> Case:
    url = _postgres_url(request)

    def rows(table: str) -> Sequence[dict[str, Any]]:
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(f"SELECT id FROM {table}".encode()).fetchall()

    return DestinationCase(connector=PostgresDestination(url=url), rows=rows)


def _mysql_tables(folder: Path, request: pytest.FixtureRequest) -> Case:
    server, config = request.getfixturevalue("mariadb_server"), request.getfixturevalue("mysql_config")
    with server.connection(config["database"]) as connection, connection.cursor() as cursor:
        for statement in _THINGS:
            cursor.execute(statement)
    return SourceCase(connector=MySQLSource(**config), stream="things", cursor_field="changed")


def _mysql_database(folder: Path, request: pytest.FixtureRequest) -> Case:
    server, config = request.getfixturevalue("mariadb_server"), request.getfixturevalue("mysql_config")

    def rows(table: str) -> list[dict[str, Any]]:
        with server.connection(config["database"]) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT id FROM {table}")
            return [{"id": number} for (number,) in cursor.fetchall()]

    return DestinationCase(connector=MySQLDestination(**config), rows=rows)


def _bigquery_dataset(folder: Path, request: pytest.FixtureRequest) -> Case:
    stack = ExitStack()
    request.addfinalizer(stack.close)
    bigquery = stack.enter_context(run_bigquery())

    def rows(table: str) -> list[dict[str, Any]]:
        return bigquery.rows(f"SELECT id FROM raw_data.{table}")

    return DestinationCase(connector=BigQueryDestination.model_validate(bigquery.config()), rows=rows)


def _started(server: AbstractContextManager[Server], request: pytest.FixtureRequest) -> Server:
    return _entered(server, request)


def _entered(server: AbstractContextManager[T], request: pytest.FixtureRequest) -> T:
    """Start a server that runs until the test ends."""
    stack = ExitStack()
    request.addfinalizer(stack.close)
    return stack.enter_context(server)


def _postgres_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("postgres_url")
    return url


SOURCES: list[Build] = [
    _dummy, _csv_files, _files_of_every_format, _files_by_http, _files_in_s3, _files_in_gcs,
    _files_in_azure, _function, _duckdb_tables, _sqlite_tables, _postgres_tables, _mysql_tables,
    _rest_api, _hubspot_account, _notion_workspace, _pokeapi, _gbif_search,
]  # fmt: skip
DESTINATIONS: list[Build] = [
    _parquet_file, _json_file, _csv_file, _partitioned_files, _file_in_s3, _partitions_in_s3, _file_in_gcs,
    _file_in_azure, _log, _duckdb_file, _sqlite_file, _postgres_schema,
    _mysql_database, _bigquery_dataset,
]  # fmt: skip
CONNECTORS: list[type[Connector]] = [
    *map(registry.source, registry.source_names()),
    *map(registry.destination, registry.destination_names()),
]


def _pairs() -> list[Any]:
    kinds = [(SOURCES, SOURCE_CHECKS), (DESTINATIONS, DESTINATION_CHECKS)]
    return [
        pytest.param(build, check, id=f"{build.__name__.strip('_')}-{check.__name__}")
        for builds, checks in kinds
        for build in builds
        for check in checks
    ]


@pytest.mark.parametrize(("build", "check"), _pairs())
def test_a_connector_keeps_its_promise(
    build: Build, check: Check[Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    system, workplace = tmp_path / "system", tmp_path / "workplace"
    system.mkdir()
    workplace.mkdir()
    case = build(system, request)

    try:
        check(case, workplace)
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.__name__)
def test_a_field_that_sounds_secret_is_a_secret(connector):
    assert configuration.exposed_secrets(connector) == []


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.__name__)
def test_a_field_that_decides_where_secrets_go_is_an_address_field(connector):
    assert configuration.forgotten_addresses(connector) == []


@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_connector_s_name_is_the_one_it_is_found_by(kind):
    names = registry.source_names() if kind == "source" else registry.destination_names()

    assert [getattr(registry, kind)(name).name for name in names] == list(names)


def test_the_log_shows_the_first_rows(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    logger = registry.destination("logger").model_validate({"rows": 2})

    logger.load(request_for(ROWS, tmp_path))

    assert caplog.messages == ['{"id":1,"name":"a","size":1.5}', '{"id":2,"name":null,"size":null}']
