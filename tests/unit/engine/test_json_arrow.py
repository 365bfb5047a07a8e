"""JSON text becomes the same rows as its decoded records would, whichever way it takes."""

import json
from typing import Any

import pyarrow as pa
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kit.arrow.json_text import JsonRecords, NotJSON, decoded, decoded_around
from headrace.engine.arrow import json_arrow
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.json_arrow import JsonArrow

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.5, -0.0, 1e16, 5e-324])
    | st.text(max_size=6)
    | st.sampled_from(["2024-05-06T07:08:09Z", "2024-05-06", "\0", "\ud800", "é", "\U0001f409", '"\\\n'])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab\x00"), inner, max_size=2),
    max_leaves=4,
)
_RECORDS = st.dictionaries(st.sampled_from(["id", "a", "rows", "é"]), _VALUES, max_size=3)


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of records that were decoded, one for each page that went the long way."""
    seen: list[int] = []

    def counting(records: list[dict[str, Any]]) -> pa.RecordBatch:
        seen.append(len(records))
        return arrowize(records)

    monkeypatch.setattr(json_arrow, "arrowize", counting)
    return seen


def page(*records: Any) -> JsonRecords:
    return JsonRecords.of(json.dumps(records).encode())


@settings(max_examples=examples(100))
@given(
    pages=st.lists(st.lists(_RECORDS, max_size=3), min_size=2, max_size=4),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_each_row_is_the_one_that_its_decoded_record_would_be(
    pages: list[list[dict[str, Any]]], ascii_only: bool, indent: int | None
) -> None:
    made = JsonArrow()

    for records in pages:
        text = json.dumps(records, ensure_ascii=ascii_only, indent=indent).encode(errors="backslashreplace")
        page = decoded_around(text, None)
        batch = made.batch(page) if isinstance(page, JsonRecords) else arrowize(page)

        assert rows(batch) == rows(arrowize(decoded(text)))


def rows(batch: pa.RecordBatch) -> list[Any]:
    return [plain(row) for row in batch.to_pylist()]


def plain(value: Any) -> Any:
    """A value with its kind; numbers by their value, objects without their nulls."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    kind = (
        "number" if isinstance(value, float | int) and not isinstance(value, bool) else type(value).__name__
    )
    return kind, value


def test_a_page_of_known_types_is_not_decoded(long_ways: list[int]) -> None:
    made = JsonArrow()
    record = {"id": 1, "name": "é", "at": "2024-05-06T07:08:09Z", "parts": [{"x": 0.5}], "ok": True}

    first = made.batch(page(record, record))
    second = made.batch(page(record, {"id": 2}, {"parts": []}))

    assert long_ways == [2]
    assert second.schema == first.schema
    assert second.to_pylist()[1:] == [
        {"id": 2, "name": None, "at": None, "parts": None, "ok": None},
        {"id": None, "name": None, "at": None, "parts": [], "ok": None},
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 1.5}),
        ({"a": 1}, {"a": 2**63}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {"a": "x"}),
        ({"a": "x"}, {"a": 5}),
        ({"a": "x"}, {"a": {"b": 1}}),
        ({"a": 0.5}, {"a": 2**53 + 1}),
        ({"a": [0.5]}, {"a": [2**53 + 1]}),
        ({"a": {"b": 0.5}}, {"a": {"b": 2**53 + 1}}),
        ({"a": {"b": 1}}, {"a": {"c": 1}}),
    ],
    ids=repr,
)
def test_what_the_quick_way_would_change_goes_the_long_way(
    first: dict[str, Any], second: dict[str, Any], long_ways: list[int]
) -> None:
    made = JsonArrow()

    made.batch(page(first))
    batch = made.batch(page(second))

    assert long_ways == [1, 1]
    assert batch == arrowize([second])


def test_after_a_new_column_the_quick_way_has_it(long_ways: list[int]) -> None:
    made = JsonArrow()

    for records in ([{"a": 1}], [{"a": 1, "b": "x"}], [{"a": 1, "b": "x"}], [{"a": 2}]):
        made.batch(page(*records))

    assert long_ways == [1, 1]


def test_a_stream_whose_types_never_settle_stops_trying(
    long_ways: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = JsonArrow()
    made.batch(page({"a": "x"}))
    for _ in range(20):
        made.batch(page({"a": 1}))
    tried: list[object] = []
    monkeypatch.setattr(json_arrow, "_parsed", lambda *asked: tried.append(asked))

    made.batch(page({"a": 1}))

    assert tried == []


def test_plain_values_are_records_of_one_field() -> None:
    assert JsonArrow().batch(page(1, {"value": 2}, None)).to_pylist() == [
        {"value": 1},
        {"value": 2},
        {"value": None},
    ]


def test_a_null_among_records_is_no_row_of_nulls(long_ways: list[int]) -> None:
    made = JsonArrow()
    made.batch(page({"a": 1}))

    batch = made.batch(page({"a": 1}, None))

    assert batch.schema.names == ["a", "value"]
    assert long_ways == [1, 2]


def test_an_empty_page_has_no_rows() -> None:
    made = JsonArrow()

    assert [made.batch(page(*records)).num_rows for records in ([], [{"a": 1}], [])] == [0, 1, 0]


def test_bytes_that_are_not_utf_8_are_refused_on_the_quick_way_too() -> None:
    made = JsonArrow()
    made.batch(page({"a": "x"}))

    with pytest.raises(NotJSON):
        made.batch(JsonRecords.of(b'[{"a":"\xff"}]'))


def test_keys_that_are_twice_in_a_record_count_once_as_in_any_decoder() -> None:
    made = JsonArrow()
    made.batch(page({"a": 1}))

    assert made.batch(JsonRecords.of(b'[{"a":1,"a":2}]')).to_pylist() == [{"a": 2}]
