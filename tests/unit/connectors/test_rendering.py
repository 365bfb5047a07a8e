"""Every Arrow value has one form as text, and none goes through a Python object that cannot hold it."""

import csv
import io
import json
import struct
from base64 import b64decode
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.arrow.rendering import csv_header, csv_lines, json_lines, slices, texts

_KEY_TWICE = pa.array([[("k", 1), ("k", 2)], [("a", None)], None, []], pa.map_(pa.string(), pa.int64()))
_SPARSE = pa.UnionArray.from_sparse(
    pa.array([0, 1, 1], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "y", None])]
)
_DENSE = pa.UnionArray.from_dense(
    pa.array([0, 1, 0], pa.int8()), pa.array([1, 0, 0], pa.int32()), [pa.array([1, 2]), pa.array(["x"])]
)
_LAST = 2**63 - 1
_FIRST = -(2**63)


@pytest.mark.parametrize(
    ("array", "written"),
    [
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.0, -0.0, 0.1, 1e16, 5e-324]), ["1.0", "-0.0", "0.1", "1e+16", "5e-324"]),
        (pa.array([float("nan"), float("inf"), float("-inf")]), ["NaN", "Infinity", "-Infinity"]),
        (pa.array([0.1, float("inf")], pa.float32()), ["0.1", "Infinity"]),
        (pa.array([0.5, float("-inf"), float("nan")], pa.float16()), ["0.5", "-Infinity", "NaN"]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array([b"\0\xff", None], pa.binary_view()), ["AP8=", None]),
        (pa.array([b"\0\xff"], pa.large_binary()), ["AP8="]),
        (pa.array([b"\0\xff"], pa.binary(2)), ["AP8="]),
        (pa.array([bytes(range(16))], pa.uuid()), ["00010203-0405-0607-0809-0a0b0c0d0e0f"]),
        (pa.array([1, 0, None], pa.bool8()), ["true", "false", None]),
        (pa.array(["b", "a", "b", None]).dictionary_encode(), ["b", "a", "b", None]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2, 3]), pa.array(["a", None])), ["a", "a", None]),
        (_SPARSE, ["1", "y", None]),
        (_DENSE, ["2", "x", "1"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_flat_values_are_written_as_types_md_says(array: pa.Array, written: list[str | None]) -> None:
    assert texts(array).to_pylist() == written
    assert texts(array.slice(1)).to_pylist() == written[1:]


@pytest.mark.parametrize(
    ("kind", "values", "written"),
    [
        (pa.date32(), [0, -719_528, 2_932_896], ["1970-01-01", "0000-01-01", "9999-12-31"]),
        (pa.date32(), [-719_529, 2_932_897], ["-0001-12-31", "+10000-01-01"]),
        (pa.date32(), [2**31 - 1, -(2**31)], ["+5881580-07-11", "-5877641-06-23"]),
        (pa.time32("s"), [0, 86_399], ["00:00:00", "23:59:59"]),
        (pa.time32("ms"), [1, 1_000], ["00:00:00.001", "00:00:01"]),
        (pa.time64("ns"), [1, 60_000_000_000], ["00:00:00.000000001", "00:01:00"]),
        (pa.timestamp("s"), [_FIRST], ["-292277022657-01-27T08:29:52"]),
        (pa.timestamp("ms"), [-62_167_219_200_001], ["-0001-12-31T23:59:59.999"]),
        (pa.timestamp("us"), [253_402_300_800_000_000], ["+10000-01-01T00:00:00"]),
        (pa.timestamp("us"), [253_402_300_799_999_999], ["9999-12-31T23:59:59.999999"]),
        (pa.timestamp("ns"), [1_704_067_200_123_456_789], ["2024-01-01T00:00:00.123456789"]),
        (pa.timestamp("us", "UTC"), [0, 5], ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000005Z"]),
        (pa.timestamp("s", "UTC"), [_LAST], ["+292277026596-12-04T15:30:07Z"]),
        (pa.timestamp("s", "Europe/Berlin"), [1_720_000_000], ["2024-07-03T11:46:40+02:00"]),
        (pa.timestamp("s", "America/St_Johns"), [0], ["1969-12-31T20:30:00-03:30"]),
        (
            pa.timestamp("s", "Europe/London"),
            [0, 86_400 * 180],
            ["1970-01-01T01:00:00+01:00", "1970-06-30T01:00:00+01:00"],
        ),
        (pa.timestamp("s", "Europe/Berlin"), [-2_500_000_000], ["1890-10-11T19:33:20Z"]),  # +00:53:28
        (pa.duration("ns"), [1_500, -1, 0], ["PT0.0000015S", "-PT0.000000001S", "P0D"]),
        (pa.duration("us"), [_FIRST, _LAST], ["-P106751991DT14454.775808S", "P106751991DT14454.775807S"]),
        (pa.duration("s"), [86_400, 90_000], ["P1D", "P1DT3600S"]),
    ],
    ids=str,
)
def test_moments_are_iso_8601_however_far_away(
    kind: pa.DataType, values: list[int], written: list[str]
) -> None:
    integers = pa.array([None, *values], pa.int32() if kind.bit_width == 32 else pa.int64())

    assert texts(integers.cast(kind)).to_pylist() == [None, *written]


@given(value=st.integers(_FIRST, _LAST), unit=st.sampled_from(["s", "ms", "us", "ns"]))
@settings(max_examples=examples(60))
def test_a_timestamp_of_any_year_says_its_instant(value: int, unit: str) -> None:
    parts = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]

    (text,) = texts(pa.array([value]).cast(pa.timestamp(unit))).to_pylist()

    day, _, clock = text.partition("T")
    sign = -1 if day.startswith("-") else 1
    year, month, day_of_month = map(int, day.lstrip("+-").split("-"))
    hours, minutes, seconds = clock.split(":")
    since = _days(sign * year, month, day_of_month) * 86_400 + int(hours) * 3_600 + int(minutes) * 60
    assert Decimal(since) + Decimal(seconds) == Decimal(value) / parts


def _days(year: int, month: int, day: int) -> int:
    """Count the days since 1970-01-01 from the lengths of years and months."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    before = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][: month - 1]
    years = year - 1
    return years * 365 + years // 4 - years // 100 + years // 400 + sum(before) + day - 719_163


@given(
    digits=st.lists(st.none() | st.integers(-(10**9) + 1, 10**9 - 1), max_size=5),
    scale=st.integers(-3, 12),
    kind=st.sampled_from([pa.decimal64, pa.decimal128, pa.decimal256]),
)
@settings(max_examples=examples(60))
def test_a_decimal_has_all_its_digits_and_no_exponent(
    digits: list[int | None], scale: int, kind: Any
) -> None:
    values = [None if number is None else Decimal(number).scaleb(-scale) for number in digits]

    found = texts(pa.array(values, kind(18, scale))).to_pylist()

    assert found == [None if value is None else f"{value + 0:f}" for value in values]


def test_a_decimal_of_76_digits_has_all_of_them() -> None:
    value = Decimal("-" + "1234567890" * 7 + ".123456")

    assert texts(pa.array([value], pa.decimal256(76, 6))).to_pylist() == [str(value)]


def test_intervals_have_months_days_and_seconds_with_a_sign_each() -> None:
    array = pa.array([pa.MonthDayNano([1, 2, 3]), pa.MonthDayNano([-14, 0, -1_500_000_000]), None])

    assert texts(array).to_pylist() == ["P1M2DT0.000000003S", "P-14MT-1.5S", None]


def test_a_map_is_an_object_and_one_with_a_key_twice_a_list_of_pairs() -> None:
    assert texts(_KEY_TWICE).to_pylist() == ['[["k",1],["k",2]]', '{"a":null}', None, "{}"]
    assert texts(_KEY_TWICE.slice(1)).to_pylist() == ['{"a":null}', None, "{}"]


def test_keys_that_are_no_text_are_written_as_text() -> None:
    array = pa.array([[(1, [2]), (3, None)]], pa.map_(pa.int64(), pa.list_(pa.int64())))

    assert texts(array).to_pylist() == ['{"1":[2],"3":null}']


@pytest.mark.parametrize(
    "kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view], ids=lambda f: f.__name__
)
def test_every_kind_of_list_is_a_json_list(kind: Any) -> None:
    array = pa.array([[1], None, [], [2, None]], kind(pa.int64()))

    assert texts(array).to_pylist() == ["[1]", None, "[]", "[2,null]"]
    assert texts(array.slice(1, 3)).to_pylist() == [None, "[]", "[2,null]"]


def test_lists_of_a_fixed_size_are_json_lists() -> None:
    array = pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2))

    assert texts(array.slice(1)).to_pylist() == [None, "[3,null]"]


def test_values_inside_of_others_have_the_same_form() -> None:
    kind = pa.struct({"at": pa.timestamp("ns"), "price": pa.decimal128(20, 10), "ratio": pa.float64()})
    array = pa.array([{"at": 1_704_067_200_123_456_789, "price": Decimal(0), "ratio": float("nan")}], kind)

    text = '{"at":"2024-01-01T00:00:00.123456789","price":"0.0000000000","ratio":"NaN"}'
    assert texts(array).to_pylist() == [text]
    assert json_texts(array).to_pylist() == [text.replace('"0.0000000000"', "0.0000000000")]


def test_values_nested_beyond_100_levels_are_refused() -> None:
    def nested(levels: int) -> pa.Array:
        array = pa.array([1])
        for _ in range(levels):
            array = pa.ListArray.from_arrays([0, 1], array)
        return array

    assert texts(nested(100)).to_pylist() == ["[" * 100 + "1" + "]" * 100]
    with pytest.raises(ValueError, match="100 levels"):
        texts(nested(101))


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"', ",", "\r\n", "\\", "\0"]
)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.none() | st.integers(_FIRST, _LAST),
            "ratio": st.none() | st.floats(),
            "text": st.none() | _TEXT,
            "raw": st.none() | st.binary(max_size=4),
            "list": st.none() | st.lists(st.none() | _TEXT, max_size=3),
        }
    ),
    max_size=6,
)
_SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "ratio": pa.float64(),
        "text": pa.string(),
        "raw": pa.binary(),
        "list": pa.list_(pa.string()),
    }
)


@given(rows=_ROWS, skipped=st.integers(0, 2))
@settings(max_examples=examples(60))
def test_json_lines_are_read_by_any_reader_of_json(rows: list[dict[str, Any]], skipped: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, _SCHEMA).slice(skipped)

    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in json_lines(batch).decode().split("\n")[:-1]
    ]

    assert len(lines) == batch.num_rows
    for found, row in zip(lines, rows[skipped:], strict=True):
        assert (found["id"], found["text"], found["list"]) == (row["id"], row["text"], row["list"])
        assert _same(found["ratio"], row["ratio"])
        assert (found["raw"] is None and row["raw"] is None) or b64decode(found["raw"]) == row["raw"]


def _same(found: Any, value: float | None) -> bool:
    if value is None or found is None:
        return value is found
    return struct.pack("d", float(found)) == struct.pack("d", value) or (value != value and found == "NaN")


@given(rows=_ROWS)
@settings(max_examples=examples(60))
def test_csv_is_read_by_any_reader_of_csv(rows: list[dict[str, Any]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, _SCHEMA)
    for quote in ("texts", "needed"):
        content = csv_header(batch.schema.names, quote) + csv_lines(batch, quote)  # type: ignore[arg-type] # a loop

        header, *found = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)

        assert header == batch.schema.names
        written = [[text or "" for text in texts(column).to_pylist()] for column in batch.columns]
        assert found == [list(row) for row in zip(*written, strict=True)]


def test_a_null_and_an_empty_text_differ_in_csv() -> None:
    batch = pa.record_batch({"a": ["", None], "b": [1, 2]})

    assert csv_lines(batch) == b'"",1\n,2\n'


def test_a_batch_of_wide_rows_is_cut_before_it_is_written() -> None:
    batch = pa.record_batch({"a": ["x" * 1_000_000] * 20})

    parts = list(slices(batch))

    assert max(part.num_rows for part in parts) <= 5
    assert pc.sum(pa.array([part.num_rows for part in parts])).as_py() == 20
