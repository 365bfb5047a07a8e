"""Every trap of turning records into Arrow, by name."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from headrace.engine.arrow.arrowize import NotRecords, arrowize
from headrace.engine.arrow.conforming import TooDeep


def column(*values: object) -> pa.Array:
    return arrowize([{"value": value} for value in values]).column("value")


def test_columns_keep_the_order_in_which_their_keys_appear():
    batch = arrowize([{"b": 1, "a": 2}, {"c": 3}])

    assert batch.schema.names == ["b", "a", "c"]


def test_a_missing_key_is_a_null():
    batch = arrowize([{"a": 1}, {"b": "x"}])

    assert batch.to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_an_empty_page_has_no_rows():
    assert arrowize([]).num_rows == 0


def test_integers_with_floats_become_doubles():
    assert column(1, 1.5).type == pa.float64()


def test_an_integer_that_no_double_holds_makes_its_column_text():
    assert column(2**53 + 1, 1.5).to_pylist() == ["9007199254740993", "1.5"]


def test_an_integer_beyond_64_bits_makes_its_column_text():
    assert column(1, 2**64).to_pylist() == ["1", "18446744073709551616"]


def test_an_integer_and_a_text_become_text():
    assert column(1, "one", None).to_pylist() == ["1", "one", None]


def test_an_object_and_a_text_become_text():
    assert column({"a": [1, None]}, "x").to_pylist() == ['{"a":[1,null]}', "x"]


@pytest.mark.parametrize("values", [(True, 1), (1, True), (1.5, True), (True, 1.5)])
def test_a_boolean_is_never_taken_for_a_number(values):
    assert column(*values).to_pylist() == [str(value).lower() for value in values]


def test_a_boolean_among_floats_is_found_inside_objects_and_lists():
    assert column({"a": [1.5]}, {"a": [False]}).to_pylist() == ['{"a":[1.5]}', '{"a":[false]}']


def test_a_float_of_one_or_zero_stays_a_float():
    assert column(0.0, 1.0).type == pa.float64()


def test_a_time_of_day_is_not_cut_from_a_date():
    values = column(date(2024, 1, 1), datetime(2024, 1, 1, 5, tzinfo=UTC))

    assert values.to_pylist() == ["2024-01-01", "2024-01-01T05:00:00Z"]


def test_a_time_without_a_zone_is_not_given_one():
    naive = datetime(2024, 1, 1, 5)  # noqa: DTZ001 - the case

    assert column(naive, naive.replace(tzinfo=UTC)).to_pylist() == [
        "2024-01-01T05:00:00",
        "2024-01-01T05:00:00Z",
    ]


def test_the_zone_of_a_time_of_day_is_kept():
    assert column(time(5, tzinfo=UTC)).to_pylist() == ["05:00:00+00:00"]


def test_times_keep_their_microseconds_and_their_instant():
    moment = datetime(2024, 1, 1, 5, 0, 0, 123456, tzinfo=UTC)

    assert column(moment).to_pylist() == [moment]


def test_text_with_bytes_is_not_taken_for_bytes():
    assert column("a", b"\xff").to_pylist() == ["a", "/w=="]


def test_decimals_keep_38_digits():
    values = [Decimal("12345678901234567890123456789.123456789"), Decimal("0.000000001")]

    result = column(*values)

    assert result.type == pa.decimal128(38, 9)
    assert result.to_pylist() == values


@pytest.mark.parametrize("value", [Decimal("1e40"), Decimal("NaN")])
def test_a_decimal_that_no_destination_holds_is_text(value):
    assert column(value).to_pylist() == [format(value, "f")]


def test_text_has_the_one_form_that_docs_give_for_each_type():
    moment = datetime(2024, 1, 1, 5, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    values = ["x", moment, timedelta(days=1, seconds=1.5), Decimal("0E-15"), float("nan"), 1.0, True, 10**30]

    assert column(*values).to_pylist() == [
        *("x", "2024-01-01T05:00:00.000005+02:00", "P1DT1.5S", "0.000000000000000"),
        *("NaN", "1.0", "true", "1000000000000000000000000000000"),
    ]
    nested = [[float("inf"), {"a": float("nan")}, b"x", Decimal("1.50")], 1]
    assert column(*nested).to_pylist() == ['["Infinity",{"a":"NaN"},"eA==","1.50"]', "1"]


def thread(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def test_a_value_that_is_nested_deep_is_text_and_not_a_type_that_no_destination_holds():
    assert column(thread(32)).to_pylist() == [thread(32)]
    assert column(thread(33)).to_pylist() == ["[" * 33 + "0" + "]" * 33]
    assert column(thread(500), "x").to_pylist() == ["[" * 500 + "0" + "]" * 500, "x"]
    assert column(thread(500)).to_pylist() == ["[" * 500 + "0" + "]" * 500]


def test_a_value_that_is_nested_too_deep_for_text_is_refused():
    with pytest.raises(TooDeep):
        column(thread(3_000), "x")


def test_a_uuid_is_text():
    assert column(UUID(int=1)).to_pylist() == ["00000000-0000-0000-0000-000000000001"]


def test_nul_characters_and_all_of_unicode_are_kept():
    text = "a\0b \N{GRINNING FACE} \u00e9 \u4e2d"

    assert column(text).to_pylist() == [text]


def test_a_lone_surrogate_is_replaced():
    assert column("a\ud800b").to_pylist() == ["a\ufffdb"]


def test_a_value_of_10_megabytes_is_kept():
    text = "x" * 10_000_000

    assert column(text)[0].as_py() == text


def test_lists_and_objects_keep_their_shape():
    value = {"tags": ["a", "b"], "at": [{"x": 1}, {"x": 2}], "none": []}

    assert column(value).to_pylist() == [value]


def test_a_page_that_mixes_everything_loses_no_row():
    values = [1, 1.5, "x", True, None, {"a": 1}, [1], 2**70]

    assert column(*values).to_pylist() == ["1", "1.5", "x", "true", None, '{"a":1}', "[1]", str(2**70)]


@pytest.mark.parametrize("records", [[1], ["x"], [[]], [{1: 2}], [{"a": 1}, 3], [None, {"a": 1}], [None]])
def test_what_is_no_record_is_refused(records):
    with pytest.raises(NotRecords):
        arrowize(records)


def test_a_column_without_a_name_is_given_one():
    assert arrowize([{"": 1, "a": 2}]).to_pylist() == [{"unnamed": 1, "a": 2}]
    assert arrowize([{"": 1, "unnamed": "x"}, {"": "y"}]).to_pylist() == [
        {"unnamed_2": "1", "unnamed": "x"},
        {"unnamed_2": "y", "unnamed": None},
    ]
