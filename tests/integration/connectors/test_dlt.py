"""dlt's sources and destinations, by dlt itself."""

import json
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import dlt
import duckdb
import pytest

from headrace.conformance.cases import DestinationCase, SourceCase
from headrace.conformance.suite import assert_conforms
from headrace.connectors.base import ReadRequest, SyncMode, Unreadable
from headrace.connectors.dlt import DltDestination, DltSource
from headrace.connectors.dlt_load import DltDestinationFailed
from headrace.connectors.dlt_read import DltSourceFailed, DltSourceUnusable

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # dlt's own warnings are its own


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


def test_a_folder_of_files_through_dlt_takes_all_rows(tmp_path: Path):
    destination = DltDestination(destination="filesystem", params={"bucket_url": tmp_path.as_uri()})

    assert_conforms(DestinationCase(connector=destination))
    assert list(tmp_path.rglob("*.jsonl*")) or list(tmp_path.rglob("*.parquet"))


def test_only_dlts_own_destinations_are_made():
    for name in ("os", "nothing", "impl"):
        with pytest.raises(DltDestinationFailed, match="no destination"):
            DltDestination(destination=name).check()


def test_a_secret_goes_where_its_dots_lead():
    from headrace.connectors.dlt import arguments

    source = DltSource(
        source="a:b", params={"client": {"base": "x"}}, secrets={"client.auth.token": "hunter2-hunter2"}
    )

    made = arguments(source.params, source.secrets)

    assert made == {"client": {"base": "x", "auth": {"token": "hunter2-hunter2"}}}
    assert "hunter2" not in json.dumps(source.params)
