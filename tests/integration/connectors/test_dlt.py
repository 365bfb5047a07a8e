"""dlt's sources and destinations, by dlt itself."""

import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
from outputs import request_for

from headrace.conformance.cases import DestinationCase, SourceCase
from headrace.conformance.suite import assert_conforms
from headrace.connectors import LoadRequest, MovedOn, ReadRequest, SyncMode, Unreadable
from headrace.connectors.dlt.connector import DltDestination, DltSource
from headrace.connectors.dlt.load import DltDestinationFailed
from headrace.connectors.dlt.read import DltSourceFailed, DltSourceUnusable
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.cursors.followers import as_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dlt"),  # dlt's own source calls what dlt gives up
]


@pytest.fixture(scope="module", autouse=True)
def _dlts_logger() -> Iterator[None]:
    """Put back what dlt sets of its logger when it first runs in a process."""
    logger = logging.getLogger("dlt")
    level, propagate = logger.level, logger.propagate
    yield
    logger.setLevel(level)
    logger.propagate = propagate


@pytest.fixture
def module(monkeypatch):
    """A module with a dlt source of two resources, and what is not one."""

    @dlt.source
    def shop(token: str = dlt.secrets.value, count: int = 40):
        @dlt.resource(primary_key="id")
        def orders():
            for number in range(count):
                changed = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number)
                yield {"id": number, "changed": changed, "items": [{"sku": "a", "n": number}]}

        @dlt.resource
        def broken():
            yield {"id": 1}
            raise ValueError(token)

        return orders, broken

    made = ModuleType("acme_dlt")
    made.shop, made.plain = shop, lambda: [{"id": 1}]
    monkeypatch.setitem(sys.modules, "acme_dlt", made)


def shop(**changes: Any) -> DltSource:
    return DltSource(source="acme_dlt:shop", secrets={"token": "hunter2-hunter2"}, **changes)


def test_a_source_conforms(module):
    assert_conforms(SourceCase(connector=shop(), stream="orders", cursor_field="changed"))


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"],
        [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)],
        [datetime(2024, 1, day) for day in (1, 2, 3)],  # noqa: DTZ001 - times without a zone
        [date(2024, 1, day) for day in (1, 2, 3)],
        [Decimal("1.5"), Decimal("10.5"), Decimal("100.5")],
        [1, 2, 3],
    ],
    ids=["text", "time", "local time", "date", "decimal", "number"],
)
def test_a_cursor_is_read_as_the_kind_of_value_that_the_records_have(module, monkeypatch, values):
    @dlt.resource
    def events():
        yield from [{"at": value} for value in values]

    monkeypatch.setattr(sys.modules["acme_dlt"], "events", events, raising=False)
    cursor = as_json(arrowize([{"at": values[1]}]).column(0)[0])
    request = ReadRequest(stream="events", sync_mode=SyncMode.INCREMENTAL, cursor_field="at", cursor=cursor)
    source = DltSource(source="acme_dlt:events")

    assert list(source.read(request)) == [[{"at": values[2]}]]
    assert list(source.read(replace(request, inclusive=True))) == [[{"at": value} for value in values[1:]]]


def test_resources_are_streams_with_their_keys(module):
    keys = {stream.name: stream.primary_key for stream in shop().streams()}

    assert keys == {"orders": ("id",), "broken": ()}
    assert shop().check() == "acme_dlt:shop has 2 resources."


def test_an_error_of_the_source_tells_its_kind_and_not_its_text(module):
    with pytest.raises(DltSourceFailed, match="ValueError") as caught:
        list(shop().read(ReadRequest(stream="broken")))

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("reference", ["acme_dlt:plain", "os:system", "no_such_module:x", "acme_dlt:nothing"])
def test_only_what_is_made_for_dlt_is_called(module, reference):
    with pytest.raises(DltSourceUnusable):
        DltSource(source=reference).check()


def test_arguments_that_do_not_fit_are_told(module):
    with pytest.raises(DltSourceUnusable, match="refused its arguments"):
        shop(params={"surprise": 1}).check()
    with pytest.raises(Unreadable, match="no resource"):
        list(shop().read(ReadRequest(stream="nothing")))


def test_dlts_own_sql_source_reads_a_database(tmp_path):
    pytest.importorskip("dlt.sources.sql_database")
    with sqlite3.connect(tmp_path / "it.sqlite") as connection:
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, changed INTEGER)")
        connection.executemany("INSERT INTO things VALUES (?, ?)", [(n, n // 3) for n in range(30)])
    source = DltSource(
        source="dlt.sources.sql_database:sql_database",
        params={"backend": "pyarrow"},
        secrets={"credentials": f"sqlite:///{tmp_path / 'it.sqlite'}"},
    )
    request = ReadRequest(stream="things", sync_mode=SyncMode.INCREMENTAL, cursor_field="changed", cursor=8)

    assert [stream.name for stream in source.streams()] == ["things"]
    assert sum(item.num_rows for item in source.read(ReadRequest(stream="things"))) == 30
    assert sum(item.num_rows for item in source.read(request)) == 3


def test_duckdb_through_dlt_conforms(tmp_path):
    path = str(tmp_path / "it.duckdb")

    def rows(table: str) -> list[dict[str, Any]]:
        with duckdb.connect(path) as connection:
            found = connection.execute(f"SELECT id FROM headrace.{table}").fetchall()
        return [{"id": number} for (number,) in found]

    destination = DltDestination(destination="duckdb", secrets={"credentials": path})

    assert_conforms(DestinationCase(connector=destination, rows=rows))


def test_a_run_without_new_rows_stores_its_cursor_through_dlt(tmp_path: Path) -> None:
    path = str(tmp_path / "it.duckdb")
    destination = DltDestination(destination="duckdb", secrets={"credentials": path})
    rows, nothing = pa.table({"id": [1, 2]}), pa.table({"id": pa.array([], pa.int64())})

    def request(table: pa.Table, load_id: str, cursor: int, **changes: Any) -> LoadRequest:
        options = {"load_id": load_id, "cursor": cursor, "disposition": "append", "continues": True}
        return request_for(table, tmp_path, **options | changes)

    assert not destination.advance(request(nothing, "none", 1))
    destination.load(request(rows, "one", 2))
    assert destination.advance(request(nothing, "two", 3, previous_load="one"))

    last = destination.last_load("pipeline-1")
    assert last is not None
    assert (last.load_id, last.cursor) == ("two", 3)
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT id FROM headrace.items ORDER BY id").fetchall() == [(1,), (2,)]
    with pytest.raises(MovedOn):
        destination.advance(request(nothing, "three", 4, previous_load="one"))


def test_a_folder_of_files_through_dlt_takes_all_rows(tmp_path: Path):
    destination = DltDestination(destination="filesystem", params={"bucket_url": tmp_path.as_uri()})

    assert_conforms(DestinationCase(connector=destination))
    assert list(tmp_path.rglob("*.jsonl*")) or list(tmp_path.rglob("*.parquet"))


_PROGRAM = """
import logging, sys
from pathlib import Path
from headrace.pipeline.document import parse_config
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.records import State

log = logging.getLogger("test")
log.setLevel("INFO")
log.addHandler(logging.FileHandler("run.log"))
config = parse_config({
    "name": "shop",
    "source": {"name": "dlt", "source": "acme:orders", "stream": "orders", "sync_mode": "incremental",
               "cursor_field": "changed"},
    "destination": {"name": "dlt", "config": {
        "destination": "duckdb", "secrets": {"credentials": "it.duckdb"}, "dataset_name": "shop"}},
})
job = EngineJob(output_path=Path(sys.argv[2]), pipeline_id="1-2", run_id=sys.argv[2], log=log, state=State())
print(run_pipeline(config, job).rows)
"""
_SOURCE = """
import sys
from datetime import UTC, datetime, timedelta
import dlt

@dlt.resource(primary_key="id")
def orders():
    for n in range(int(sys.argv[1])):
        yield {"id": n % 4, "changed": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n), "nothing": None}
"""


def test_a_pipeline_from_dlt_to_dlt_goes_on_and_leaves_the_terminal_to_its_user(tmp_path):
    (tmp_path / "acme.py").write_text(_SOURCE)
    (tmp_path / "program.py").write_text(_PROGRAM)

    runs = [
        subprocess.run(
            [sys.executable, "program.py", last, output], cwd=tmp_path, capture_output=True, text=True
        )
        for last, output in (("4", "first.parquet"), ("6", "second.parquet"))
    ]

    assert [(run.stdout, run.stderr) for run in runs] == [("4\n", ""), ("2\n", "")]
    with duckdb.connect(str(tmp_path / "it.duckdb")) as connection:
        found = connection.execute("SELECT id, hour(changed AT TIME ZONE 'UTC') FROM shop.orders ORDER BY id")
        assert found.fetchall() == [(0, 4), (1, 5), (2, 2), (3, 3)]
    assert "dlt: In schema" in (tmp_path / "run.log").read_text()  # it warns of the column without values


def test_only_dlts_own_destinations_are_made():
    for name in ("os", "nothing", "impl"):
        with pytest.raises(DltDestinationFailed, match="no destination"):
            DltDestination(destination=name).check()


def test_a_secret_goes_where_its_dots_lead():
    from headrace.connectors.dlt.config import arguments

    source = DltSource(
        source="a:b", params={"client": {"base": "x"}}, secrets={"client.auth.token": "hunter2-hunter2"}
    )

    made = arguments(source.params, source.secrets)

    assert made == {"client": {"base": "x", "auth": {"token": "hunter2-hunter2"}}}
    assert "hunter2" not in json.dumps(source.params)
