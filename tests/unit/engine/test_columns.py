"""Steps over whole columns: chosen, hashed, cast and renamed, exactly or not at all."""

import hashlib
import hmac
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.transforms.code_steps import TransformFailed
from headrace.engine.transforms.columns import ColumnsStep, MissingColumn, renamed
from headrace.pipeline.transforms import Transform

SALT = "a salt of the company's own"


def step(**columns: Any) -> ColumnsStep:
    return ColumnsStep(Transform(label="tidy", columns=columns))


def applied(records: list[dict] | pa.RecordBatch, **columns: Any) -> pa.RecordBatch:
    [batch] = step(**columns).apply(arrowize(records) if isinstance(records, list) else records)
    return batch


def test_selected_columns_come_in_the_order_named():
    assert applied([{"a": 1, "b": 2, "c": 3}], select=["c", "a"]).to_pylist() == [{"c": 3, "a": 1}]


def test_excluded_columns_are_left_out():
    assert applied([{"a": 1, "b": 2, "c": 3}], exclude=["b"]).to_pylist() == [{"a": 1, "c": 3}]


def test_columns_may_swap_their_names():
    assert applied([{"a": 1, "b": 2}], rename={"a": "b", "b": "a"}).to_pylist() == [{"b": 1, "a": 2}]


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(TransformFailed, match="'tidy' makes two columns named 'b'"):
        applied([{"a": 1, "b": 2}], rename={"a": "b"})


@pytest.mark.parametrize(
    ("value", "text"),
    [("ada@example.org", "ada@example.org"), (7, "7"), (True, "true"), ({"a": [1]}, '{"a":[1]}')],
)
def test_a_hash_is_keyed_and_of_the_value_s_text(value, text):
    expected = hmac.new(SALT.encode(), text.encode(), hashlib.sha256).hexdigest()

    hashed = applied([{"a": value}, {"a": None}], hash={"columns": ["a"], "salt": SALT})

    assert hashed.to_pylist() == [{"a": expected}, {"a": None}]


def test_bytes_are_hashed_as_they_are():
    expected = hmac.new(SALT.encode(), b"\xff\x00", hashlib.sha256).hexdigest()

    assert applied([{"a": b"\xff\x00"}], hash={"columns": ["a"], "salt": SALT})["a"][0].as_py() == expected


def test_another_salt_gives_another_hash():
    hashes = [
        applied([{"a": "x"}], hash={"columns": ["a"], "salt": salt})["a"] for salt in (SALT, SALT + "!")
    ]

    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        ("7", "int64", 7),
        (7.0, "int64", 7),
        (7, "double", 7.0),
        ("true", "bool", True),
        ("1.50", "decimal128(10, 2)", Decimal("1.50")),
        (1.5, "decimal128(10, 2)", Decimal("1.50")),
        ("2024-01-31", "date32", date(2024, 1, 31)),
        ("2024-01-31T10:00:00", "timestamp[us]", datetime(2024, 1, 31, 10)),  # noqa: DTZ001 - without a zone
        ("2024-01-31T10:00:00+02:00", "timestamp[us, UTC]", datetime(2024, 1, 31, 8, tzinfo=UTC)),
        ({"a": 1}, "string", '{"a":1}'),
        (7, "string", "7"),
        (None, "int64", None),
    ],
)
def test_a_cast_is_exact(value, declared, expected):
    assert applied([{"a": value}], cast={"a": declared}).to_pylist() == [{"a": expected}]


@pytest.mark.parametrize(
    ("values", "declared", "record"),
    [
        (["1", "2", "s3cret", "4"], "int64", 3),
        ([1.0, 2.5], "int64", 2),
        ([1.005, 2.5], "decimal128(10, 2)", 1),
        (["2024-01-01", "yesterday"], "date32", 2),
        ([2**53, 2**53 + 1], "double", 2),
        ([{"a": 1}], "int64", 1),
        (["1", "x"], "bool", 2),
    ],
)
def test_a_cast_that_is_not_exact_names_the_record_and_the_column_and_no_value(values, declared, record):
    records = [{"id": 1, "a": value} for value in values]

    with pytest.raises(TransformFailed) as caught:
        applied(records, cast={"a": declared})

    assert f"'tidy' failed at record {record}: column 'a'" in caught.value.detail
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_records_are_counted_from_the_first_batch_on():
    tidy = step(cast={"a": "int64"})
    list(tidy.apply(arrowize([{"a": "1"}] * 1000)))

    with pytest.raises(TransformFailed, match="record 1,002"):
        list(tidy.apply(arrowize([{"a": "1"}, {"a": "x"}])))


def test_names_are_those_before_the_step():
    batch = applied(
        [{"a": "1", "b": "x", "c": 1}],
        select=["a", "b"],
        cast={"a": "int64"},
        hash={"columns": ["b"], "salt": SALT},
        rename={"a": "number", "b": "who"},
    )

    assert batch.schema.names == ["number", "who"]
    assert batch["number"].to_pylist() == [1]


@pytest.mark.parametrize(
    "misspelt",
    [
        {"exclude": ["emial"]},
        {"select": ["email", "emial"]},
        {"hash": {"columns": ["emial"], "salt": SALT}},
        {"cast": {"emial": "string"}},
        {"rename": {"emial": "e"}},
    ],
)
def test_a_misspelt_column_fails_the_run(misspelt: dict[str, Any]):
    tidy = step(**misspelt)
    list(tidy.apply(arrowize([{"email": "x@example.org"}])))

    with pytest.raises(MissingColumn, match="'emial'"):
        tidy.require_columns(())


def test_a_column_that_comes_late_or_came_in_an_earlier_run_is_not_misspelt():
    tidy = step(rename={"late": "new", "seldom": "x"})
    for records in ([{"a": 1}], [{"a": 1, "late": 2}]):
        list(tidy.apply(arrowize(records)))

    tidy.require_columns({"seldom"})

    assert tidy.named == {"late"}


def test_a_column_may_be_missing_where_the_step_says_so_or_there_are_no_rows():
    optional, idle = step(exclude=["emial"], missing="ignore"), step(exclude=["emial"])
    list(optional.apply(arrowize([{"a": 1}])))

    optional.require_columns(())
    idle.require_columns(())


def test_a_batch_without_rows_gets_the_columns_too():
    empty = pa.schema([("a", pa.string()), ("b", pa.int64())]).empty_table().to_batches()
    batch = empty[0] if empty else pa.RecordBatch.from_pylist([], pa.schema([("a", pa.string())]))

    assert (
        applied(batch, select=["a"], cast={"a": "int64"}, rename={"a": "n"}).schema.field("n").type == "int64"
    )


def test_a_field_s_description_stays_with_it():
    schema = pa.schema([pa.field("a", pa.int64(), metadata={"unit": "s"})])
    batch = pa.RecordBatch.from_pylist([{"a": 1}], schema)

    assert applied(batch, rename={"a": "b"}).schema.field("b").metadata == {b"unit": b"s"}


def test_keys_are_called_what_the_columns_steps_make_them():
    steps = (
        Transform(label="1", columns={"rename": {"id": "contact_id"}}),
        Transform(label="2", python="pass"),
        Transform(label="3", columns={"rename": {"contact_id": "key", "other": "x"}}),
    )

    assert renamed(("id", "part"), steps) == ("key", "part")
