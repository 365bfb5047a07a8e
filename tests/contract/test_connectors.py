"""What every source and every destination keeps to. A new connector adds one line to a table below."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from outputs import request_for
from pydantic import BaseModel, SecretStr

from headrace.connectors import registry
from headrace.connectors.base import (
    Checkpoint,
    Connector,
    ConnectorError,
    Destination,
    LoadResult,
    ReadRequest,
    Section,
    Source,
    Stream,
    json_schema,
)
from headrace.connectors.unavailable import NotYetAvailable
from headrace.engine.arrowize import arrowize

NOT_YET_AVAILABLE = {"hubspot", "bigquery"}
ROWS = pa.table({"id": [1, 2, 3], "name": ["a", None, "c\u00e9"], "size": [1.5, None, -2.0]})


@dataclass(frozen=True, kw_only=True)
class SourceCase:
    """How to make a source that has rows in `stream`, inside an empty folder."""

    name: str
    stream: str
    config: Callable[[Path], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class DestinationCase:
    """How to make a destination inside an empty folder."""

    name: str
    config: Callable[[Path], dict[str, Any]]


def _csv_file(folder: Path) -> dict[str, Any]:
    (folder / "things.csv").write_text("id,name\n1,a\n2,b\n")
    return {"paths": [str(folder / "things.csv")]}


SOURCES = [
    SourceCase(name="dummy", stream="creatures", config=lambda folder: {"records": 250}),
    SourceCase(name="files", stream="things", config=_csv_file),
]
DESTINATIONS = [
    DestinationCase(name="file", config=lambda folder: {"path": str(folder)}),
    DestinationCase(name="file", config=lambda folder: {"path": str(folder), "format": "jsonl"}),
    DestinationCase(name="file", config=lambda folder: {"path": str(folder), "format": "csv"}),
    DestinationCase(name="logger", config=lambda folder: {}),
    DestinationCase(name="duckdb", config=lambda folder: {"path": str(folder / "it.duckdb")}),
    DestinationCase(name="sqlite", config=lambda folder: {"path": str(folder / "it.sqlite")}),
]
CONNECTORS: list[type[Connector]] = [
    *map(registry.source, registry.source_names()),
    *map(registry.destination, registry.destination_names()),
]
# Names that belong to a secret, or to where secrets are sent.
_SECRET = re.compile(r"(?i)(token|passw|passphrase|secret|credential|dsn|cookie|api_?key|private_?key|_key$)")
_NO_SECRET = {
    "access_token_name", "token_refresh_endpoint", "primary_key", "primary_keys", "merge_key",
}  # fmt: skip
_ADDRESS = re.compile(r"^(host|hostname|port|ur[il]|dsn|endpoint|token_refresh_endpoint|base_url|address)$")


@pytest.fixture(params=SOURCES, ids=lambda case: case.name)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Source, str]:
    case: SourceCase = request.param
    return registry.source(case.name).model_validate(case.config(tmp_path)), case.stream


@pytest.fixture(params=DESTINATIONS, ids=lambda case: case.name)
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    case: DestinationCase = request.param
    folder = tmp_path / "destination"
    folder.mkdir()
    return registry.destination(case.name).model_validate(case.config(folder))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """What a destination keeps, byte by byte. Journals beside a database are no content."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".wal"))
    }


def rows_of(source: Source, stream: str, **changes: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for item in source.read(ReadRequest(stream=stream, **changes)):
        if not isinstance(item, Checkpoint):
            rows += (arrowize(item) if isinstance(item, list) else item).to_pylist()
    return rows


def models_of(connector: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all models nested in it."""
    yield connector
    for field in connector.model_fields.values():
        for kind in _types_within(field.annotation):
            if issubclass(kind, BaseModel):
                yield from models_of(kind)


def _types_within(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _types_within(inner)


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.__name__)
def test_a_field_that_sounds_secret_is_a_secret(connector):
    exposed = [
        f"{model.__name__}.{name}"
        for model in models_of(connector)
        for name, field in model.model_fields.items()
        if _SECRET.search(name) and name not in _NO_SECRET
        if not any(issubclass(kind, SecretStr | BaseModel) for kind in _types_within(field.annotation))
    ]

    assert exposed == []


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.__name__)
def test_a_field_that_decides_where_secrets_go_is_an_address_field(connector):
    forgotten = [
        f"{model.__name__}.{name}"
        for model in models_of(connector)
        for name in model.model_fields
        if _ADDRESS.search(name) and name not in getattr(model, "address_fields", ())
    ]

    assert forgotten == []


@pytest.mark.parametrize("connector", CONNECTORS, ids=lambda connector: connector.__name__)
def test_a_configuration_is_strict_and_described(connector):
    schema = json_schema(connector)

    assert connector.title
    assert connector.summary
    assert schema["additionalProperties"] is False
    assert all(issubclass(model, Section) for model in models_of(connector))
    assert set(connector.address_fields) <= set(connector.model_fields)


@pytest.mark.parametrize("kind", ["source", "destination"])
def test_a_connector_s_name_is_the_one_it_is_found_by(kind):
    names = registry.source_names() if kind == "source" else registry.destination_names()

    assert [getattr(registry, kind)(name).name for name in names] == list(names)


def test_a_connector_that_is_not_available_says_so():
    hubspot = registry.source("hubspot").model_validate(
        {"authentication": {"type": "api_key", "params": {"token": "t"}}}
    )
    bigquery = registry.destination("bigquery").model_validate({"project_id": "p", "dataset": "d"})

    for use in (hubspot.check, bigquery.check, lambda: hubspot.read(ReadRequest(stream="contacts"))):
        with pytest.raises(NotYetAvailable):
            use()


def test_a_source_is_checked_with_a_sentence(source):
    assert source[0].check().endswith(".")


def test_a_source_describes_its_streams(source):
    configured, stream = source

    if stream in {known.name for known in configured.streams()}:
        assert configured.describe(stream).name == stream
    assert all(isinstance(known, Stream) for known in configured.streams())


def test_a_source_reads_the_same_rows_again(source):
    configured, stream = source

    first = rows_of(configured, stream)

    assert first
    assert rows_of(configured, stream) == first


def test_a_source_that_syncs_reads_nothing_after_its_highest_cursor(source):
    configured, stream = source
    known = {known.name: known for known in configured.known_streams()}.get(stream)
    if known is None or known.cursor_field is None:
        pytest.skip("the stream has no cursor")

    highest = max(row[known.cursor_field] for row in rows_of(configured, stream))

    cursor = highest.isoformat() if hasattr(highest, "isoformat") else highest
    assert rows_of(configured, stream, cursor=cursor, cursor_field=known.cursor_field) == []


def test_a_destination_is_checked_with_a_sentence(destination):
    assert destination.check().endswith(".")


def test_a_destination_takes_all_rows_and_says_where_they_are(destination, outputs):
    result = destination.load(request_for(ROWS, outputs))

    assert isinstance(result, LoadResult)
    assert result.rows == 3
    assert result.location


def test_a_destination_replaces_and_does_not_add(destination, outputs):
    destination.load(request_for(ROWS, outputs))

    assert destination.load(request_for(ROWS.slice(0, 1), outputs)).rows == 1


def test_a_destination_takes_a_stream_without_rows(destination, outputs):
    assert destination.load(request_for(ROWS.slice(0, 0), outputs)).rows == 0


def test_a_destination_takes_nested_null_and_binary_columns(destination, outputs):
    odd = pa.table({
        "id": [1],
        "nothing": pa.nulls(1),
        "list": [["a", None]],
        "object": [{"x": [{"y": 1}]}],
        "binary": [b"\xff\x00"],
    })  # fmt: skip

    assert destination.load(request_for(odd, outputs)).rows == 1


def test_a_destination_publishes_nothing_once_the_run_is_not_the_worker_s(destination, outputs, tmp_path):
    destination.load(request_for(ROWS, outputs))
    before = contents(tmp_path / "destination")

    def refuse() -> None:
        raise ConnectorError("The run is no longer this worker's.")

    with pytest.raises(ConnectorError):
        destination.load(request_for(ROWS.slice(0, 1), outputs, before_commit=refuse))

    if destination.name in {"file", "logger"}:
        assert contents(tmp_path / "destination") == before


def test_a_destination_that_keeps_cursors_gives_the_last_one_back(destination, outputs):
    assert destination.last_load("pipeline-1") is None

    destination.load(request_for(ROWS, outputs, load_id="load-1", cursor={"at": 3}))

    last = destination.last_load("pipeline-1")
    if "append" in destination.dispositions:
        assert last is not None
        assert (last.load_id, last.cursor) == ("load-1", {"at": 3})


def test_the_log_shows_the_first_rows(outputs, caplog):
    caplog.set_level(logging.INFO)
    logger = registry.destination("logger").model_validate({"rows": 2})

    logger.load(request_for(ROWS, outputs))

    assert caplog.messages == ['{"id":1,"name":"a","size":1.5}', '{"id":2,"name":null,"size":null}']
