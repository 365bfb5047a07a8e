"""A column's JSON is that of its values one by one."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kit.arrow.json_columns import json_texts

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\\", "\0\n\x1f"]
)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [5.0, -0.0, 1e16, 1e21, 5e-324, 1.7976931348623157e308]
)
_TYPES: st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]] = st.deferred(
    lambda: (
        st.sampled_from(
            [
                (pa.bool_(), st.booleans()),
                (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
                (pa.uint64(), st.integers(0, 2**64 - 1)),
                (pa.float64(), _FLOATS),
                (pa.string(), _TEXTS),
                (pa.null(), st.none()),
                (pa.struct([]), st.just({})),
                (pa.date32(), st.dates()),
            ]
        )
        | _TYPES.map(lambda inner: (pa.list_(inner[0]), st.lists(st.none() | inner[1], max_size=3)))
        | st.lists(_TYPES, min_size=1, max_size=3).map(_object)
    )
)


def _object(
    inner: list[tuple[pa.DataType, st.SearchStrategy[Any]]],
) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    names = [f'key "{index}"' for index in range(len(inner))]
    kind = pa.struct([(name, found) for name, (found, _) in zip(names, inner, strict=True)])
    values = {name: st.none() | value for name, (_, value) in zip(names, inner, strict=True)}
    return kind, st.fixed_dictionaries(values)


_ARRAYS = _TYPES.flatmap(
    lambda pair: st.lists(st.none() | pair[1], max_size=6).map(lambda values: pa.array(values, pair[0]))
)


@settings(max_examples=examples(75))
@given(array=_ARRAYS, skipped=st.integers(0, 2))
def test_each_value_is_written_as_it_would_be_alone(array: pa.Array, skipped: int) -> None:
    array = array.slice(skipped)

    texts = json_texts(array).to_pylist()

    values = array.to_pylist()
    assert [text is None for text in texts] == [value is None for value in values]
    for text, value in zip(texts, values, strict=True):
        if value is not None:
            found, wanted = msgspec.json.decode(text), msgspec.json.decode(_ENCODER.encode(value))
            assert repr(found) == repr(wanted)


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)]), ['"2024-05-06T07:08:09.000010Z"']),
        (pa.array([{"a": date(2024, 5, 6)}]), ['{"a":"2024-05-06"}']),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), ['{"k":1}']),
        (pa.array([[0.1, None, float("inf")]]), ['[0.1,null,"Infinity"]']),
        (pa.array([{"a": None, "b": {}}]), ['{"a":null,"b":{}}']),
        (pa.array([5.0, -3.0, 1e16]), ["5.0", "-3.0", "1e+16"]),
        (pa.array([{"é\0": "\0"}]), ['{"é\\u0000":"\\u0000"}']),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_of_other_types_are_written_as_types_md_says(array: pa.Array, texts: list[str]) -> None:
    assert json_texts(array).to_pylist() == texts


def test_a_map_with_a_key_twice_is_a_list_of_pairs() -> None:
    array = pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64()))

    assert json_texts(array).to_pylist() == ['[["k",1],["k",2]]']
