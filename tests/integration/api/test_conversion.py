"""Conversion of Parquet to CSV and JSON lines."""

import csv
import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace_api.resources.conversion import csv_lines, json_lines

TABLE = pa.table(
    {
        "id": [1, 2],
        "text": ['a,"b"\nc', None],
        "price": [Decimal("1.50"), Decimal("-0.01")],
        "at": [datetime(2024, 1, 15, 10, 0, 0, 5, UTC), None],
        "day": [date(2024, 1, 15), None],
        "hour": [time(10, 30), None],
        "took": [timedelta(seconds=1.5), None],
        "raw": [b"\x00\xff", None],
        "ratio": [float("nan"), 0.5],
        "list": [[1, None], []],
        "struct": [{"a": {"b": b"x"}}, None],
        "flag": [True, None],
    }
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "output.parquet"
    pq.write_table(TABLE, file)
    return file


def test_json_lines_have_every_type_as_json_can(path):
    first, second = [json.loads(line) for line in b"".join(json_lines(path)).splitlines()]

    assert first == {
        "id": 1,
        "text": 'a,"b"\nc',
        "price": "1.50",
        "at": "2024-01-15T10:00:00.000005Z",
        "day": "2024-01-15",
        "hour": "10:30:00",
        "took": "PT1.5S",
        "raw": "AP8=",
        "ratio": "NaN",
        "list": [1, None],
        "struct": {"a": {"b": "eA=="}},
        "flag": True,
    }
    assert second == dict.fromkeys(TABLE.column_names) | {"id": 2, "price": "-0.01", "ratio": 0.5, "list": []}


def test_csv_is_read_back_by_a_csv_reader(path):
    text = b"".join(csv_lines(path)).decode()

    first, second = csv.DictReader(io.StringIO(text, newline=""))

    assert first["text"] == 'a,"b"\nc'
    assert (first["price"], first["flag"], first["list"]) == ("1.50", "true", "[1,null]")
    assert (first["ratio"], second["ratio"]) == ("NaN", "0.5")
    assert (second["text"], second["flag"], second["list"]) == ("", "", "[]")


def test_an_empty_output_has_its_header(tmp_path):
    file = tmp_path / "output.parquet"
    pq.write_table(TABLE.slice(0, 0), file)

    assert b"".join(csv_lines(file)).decode().strip() == ",".join(TABLE.column_names)
    assert b"".join(json_lines(file)) == b""


def test_nanoseconds_are_kept(tmp_path):
    file = tmp_path / "output.parquet"
    moment = pa.array([1_705_312_800_123_456_789], pa.timestamp("ns", "UTC"))
    took = pa.array([1_500], pa.duration("ns"))
    pq.write_table(pa.table({"at": moment, "took": took, "list": [[None]]}), file)

    row = json.loads(b"".join(json_lines(file)))

    assert row == {"at": "2024-01-15T10:00:00.123456789Z", "took": "PT0.0000015S", "list": [None]}


def test_an_empty_text_and_a_null_differ_in_csv(tmp_path):
    file = tmp_path / "output.parquet"
    pq.write_table(pa.table({"a": ["", None], "b": [1, 2]}), file)

    assert b"".join(csv_lines(file)) == b'a,b\n"",1\n,2\n'


def test_wide_rows_come_in_parts(tmp_path):
    file = tmp_path / "output.parquet"
    pq.write_table(pa.table({"a": [f"{number}" + "x" * 1_000_000 for number in range(40)]}), file)

    assert max(map(len, csv_lines(file))) < 20_000_000


def test_a_large_output_comes_in_parts(tmp_path):
    file = tmp_path / "output.parquet"
    pq.write_table(pa.table({"id": range(100_000)}), file)

    parts = list(json_lines(file))

    assert max(map(len, parts)) < 100_000
    assert sum(part.count(b"\n") for part in parts) == 100_000
