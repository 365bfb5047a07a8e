"""docs/types.md, tried on records at random: what goes in comes out, by the stated rules.

Out of the run's Parquet file, and out of PostgreSQL and DuckDB after a load from it.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer

from headrace.connectors import Destination, LoadRequest, Output
from headrace.connectors.duckdb.connector import DuckDBDestination
from headrace.connectors.postgres.connector import PostgresDestination
from headrace.engine import output as output_module
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.output import OutputWriter

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)  # JSON has neither
_SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-5, 5) | _FLOATS | _TEXT
_TIMES = (
    st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))
    | st.datetimes()
    | st.dates()
)
_DECIMALS = st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_PAGES = st.lists(
    st.lists(st.dictionaries(st.sampled_from(["id", "a", "b"]), _JSON, min_size=1), max_size=4), max_size=4
)
_TYPED_PAGES = st.lists(
    st.lists(st.dictionaries(st.sampled_from("xy"), _TIMES | _DECIMALS | _SCALARS, min_size=1), max_size=4),
    max_size=4,
)


_RECORDS = given(pages=_PAGES | _TYPED_PAGES, group_rows=st.sampled_from([1, 3, 1_000_000]))


def write(pages: list[list[dict[str, Any]]], group_rows: int, path: Path) -> Output:
    """Write pages as a run does."""
    with mock.patch.object(output_module, "_GROUP_ROWS", group_rows), OutputWriter(path) as writer:
        for page in pages:
            writer.add(arrowize(page))
        return writer.finish()


@dataclass(frozen=True, kw_only=True)
class Store:
    """A destination, and its table's rows in the order of their numbers."""

    destination: Destination
    read: Callable[[], list[dict[str, Any]]]

    def through(self, pages: list[list[dict[str, Any]]], group_rows: int) -> list[dict[str, Any]]:
        numbers = count()
        numbered = [[{**record, "number": next(numbers)} for record in page] for page in pages]
        with tempfile.TemporaryDirectory() as folder:
            output = write(numbered, group_rows, Path(folder) / "output.parquet")
            request = LoadRequest(output=output, table="things", pipeline_id="types", load_id=uuid4().hex)
            self.destination.load(request)
        rows = self.read() if output.rows else []
        return [{name: value for name, value in row.items() if name != "number"} for row in rows]


@pytest.fixture(scope="module")
def postgres(postgres_server: PostgresServer) -> Iterator[Store]:
    url = postgres_server.fresh_database()
    with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        connection.prepare_threshold = None  # the table's types change

        def read() -> list[dict[str, Any]]:
            return connection.execute("SELECT * FROM things ORDER BY number").fetchall()

        yield Store(destination=PostgresDestination(url=url), read=read)


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = str(tmp_path_factory.mktemp("types") / "it.duckdb")

    def read() -> list[dict[str, Any]]:
        with duckdb.connect(path) as connection:
            rows: list[dict[str, Any]] = (
                connection.sql("SELECT * FROM things ORDER BY number").to_arrow_table().to_pylist()
            )
            return rows

    return Store(destination=DuckDBDestination(path=path), read=read)


def assert_kept(pages: list[list[dict[str, Any]]], stored: list[dict[str, Any]]) -> None:
    records = [record for page in pages for record in page]
    assert len(stored) == len(records)
    for record, row in zip(records, stored, strict=True):
        assert record.keys() <= row.keys()
        assert all(is_kept(record.get(name), value) for name, value in row.items()), (record, row)


def is_kept(value: Any, stored: Any) -> bool:
    """Whether a stored value is the given one under the rules."""
    if value is None:
        return stored is None
    if isinstance(stored, str):
        return stored == value if isinstance(value, str) else _is_kept_as_text(value, stored)
    if isinstance(stored, dict):
        missing = stored.keys() - value.keys()
        return all(is_kept(inner, stored[key]) for key, inner in value.items()) and all(
            stored[key] is None for key in missing
        )
    if isinstance(stored, list):
        return len(value) == len(stored) and all(map(is_kept, value, stored))
    if isinstance(value, bool) or isinstance(stored, bool):
        return value is stored
    if isinstance(stored, Decimal):
        return Decimal(value) == stored
    if isinstance(value, float):
        return value == float(stored)  # jsonb writes a large float without its exponent
    return bool(value == stored)


def _is_kept_as_text(value: Any, stored: str) -> bool:
    if isinstance(value, date | datetime):
        return stored == value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return Decimal(stored) == value
    return _equal(value, json.loads(stored))


def _equal(value: Any, read: Any) -> bool:
    """Equality of JSON, but that an object which was a struct for a while has a null for a missing key."""
    if isinstance(value, dict):
        return isinstance(read, dict) and all(_equal(value.get(key), read.get(key)) for key in value | read)
    if isinstance(value, list):
        return isinstance(read, list) and len(value) == len(read) and all(map(_equal, value, read))
    return isinstance(value, bool) == isinstance(read, bool) and bool(value == read)


def without_nuls(value: Any) -> Any:
    """What PostgreSQL keeps of a value: its texts have no NUL characters."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {name: without_nuls(inner) for name, inner in value.items()}
    return [without_nuls(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=examples(75))
@_RECORDS
def test_any_records_come_out_of_parquet_as_they_went_in(pages, group_rows):
    with tempfile.TemporaryDirectory() as folder:
        stored = pq.read_table(write(pages, group_rows, Path(folder) / "output.parquet").path).to_pylist()

    assert_kept(pages, stored)


@settings(max_examples=examples(25))
@_RECORDS
def test_any_records_come_out_of_postgresql_as_they_went_in(postgres, pages, group_rows):
    stored = postgres.through(pages, group_rows)

    assert_kept([[without_nuls(record) for record in page] for page in pages], stored)


@settings(max_examples=examples(25))
@_RECORDS
def test_any_records_come_out_of_duckdb_as_they_went_in(duck, pages, group_rows):
    assert_kept(pages, duck.through(pages, group_rows))
