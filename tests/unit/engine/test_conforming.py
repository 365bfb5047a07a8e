"""Values in the wider types of a stream, put together where Arrow's own casts make broken arrays."""

from typing import Any

import pyarrow as pa
import pytest

from headrace.engine.arrow.conforming import conform

VIEWED, PLAIN = pa.large_list(pa.string_view()), pa.large_list(pa.string())
PAIR = pa.list_(pa.null(), 2)


@pytest.mark.parametrize(
    ("before", "after", "values"),
    [
        (
            pa.struct([("a", VIEWED), ("b", PAIR)]),
            pa.struct([("a", PLAIN), ("b", PAIR)]),
            [None, {"a": ["x", None], "b": [None, None]}, {"a": None, "b": None}],
        ),
        (
            pa.map_(pa.string(), pa.list_view(pa.int32())),
            pa.map_(pa.string(), pa.list_(pa.int64())),
            [[("k", [1, None]), ("l", None)], None, []],
        ),
        (pa.list_(pa.int32(), 2), pa.list_(pa.int64(), 2), [[1, 2], None, [None, 3]]),
        (pa.list_(pa.int32(), 2), pa.list_(pa.int64()), [[1, 2], None, [None, 3]]),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.string()), ("a", pa.int64())]), [{"a": 1}, None]),
    ],
)
def test_lists_objects_and_maps_keep_their_values(
    before: pa.DataType, after: pa.DataType, values: list[Any]
) -> None:
    array = pa.array([values[-1], *values], before).slice(1)  # the parts begin at an offset

    found = conform(pa.record_batch({"v": array}), pa.schema({"v": after})).column("v")

    found.validate(full=True)
    assert found.type == after
    assert found.to_pylist() == pa.array(values, after).to_pylist()
