"""Types of one family widen to one that holds both; an absence is no type; nothing is rounded on the way."""

from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.engine import output as output_module
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.conforming import TooDeep, is_deep, storable
from headrace.engine.arrow.widening import wider
from headrace.engine.output import OutputWriter

NOON, LATER = time(12), time(12, 0, 0, 5)
FIRST, LAST = date(1, 1, 1), date(9999, 12, 31)
NONE = {"a": None}
I8S, VIEW = pa.list_(pa.int8()), pa.list_view(pa.int8())
MAP, BIG_MAP = pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int64())
STRUCT = pa.struct([("a", pa.int32())])
FAMILIES: list[tuple[pa.DataType, pa.DataType, pa.DataType]] = [
    (pa.string(), pa.large_string(), pa.large_string()),
    (pa.string(), pa.string_view(), pa.string()),
    (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
    (pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string()), pa.large_string()),
    (pa.run_end_encoded(pa.int32(), pa.int32()), pa.int64(), pa.int64()),
    (pa.binary(), pa.large_binary(), pa.large_binary()),
    (pa.binary(4), pa.binary(5), pa.binary()),
    (pa.binary_view(), pa.binary(5), pa.binary()),
    (pa.int8(), pa.int64(), pa.int64()),
    (pa.uint8(), pa.uint32(), pa.uint32()),
    (pa.int8(), pa.uint64(), pa.decimal128(20, 0)),
    (pa.float16(), pa.float32(), pa.float64()),
    (pa.int32(), pa.float32(), pa.float64()),
    (pa.decimal128(5, 2), pa.decimal128(9, 4), pa.decimal128(9, 4)),
    (pa.decimal32(5, 2), pa.decimal64(12, 0), pa.decimal128(14, 2)),
    (pa.decimal128(5, 2), pa.int64(), pa.decimal128(22, 2)),
    (pa.decimal256(50, 2), pa.decimal128(9, 4), pa.decimal256(52, 4)),
    (pa.decimal256(50, 2), pa.int64(), pa.decimal256(50, 2)),
    (pa.date32(), pa.date64(), pa.date32()),
    (pa.time32("s"), pa.time32("ms"), pa.time32("ms")),
    (pa.time32("ms"), pa.time64("us"), pa.time64("us")),
    (pa.time64("us"), pa.time64("ns"), pa.time64("ns")),
    (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns")),
    (pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Rome"), pa.timestamp("us", "UTC")),
    (pa.duration("s"), pa.duration("us"), pa.duration("us")),
    (pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.large_list(pa.int64())),
    (pa.list_(pa.int64()), pa.list_(pa.int32(), 2), pa.list_(pa.int64())),
    (pa.list_view(pa.string()), pa.list_(pa.large_string()), pa.list_(pa.large_string())),
    (pa.list_(pa.null()), pa.list_(STRUCT), pa.list_(STRUCT)),
    (pa.struct([]), STRUCT, STRUCT),
    (pa.struct([("a", pa.null())]), STRUCT, STRUCT),
    (pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), pa.int64()), pa.map_(pa.string(), pa.int64())),
    *(
        (pa.null(), kind, kind)
        for kind in (pa.string(), STRUCT, pa.list_(pa.int8()), pa.binary(3), pa.date32())
    ),
]
MIXTURES = [
    (pa.bool_(), pa.int64()),
    (pa.date32(), pa.timestamp("us")),
    (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    (pa.decimal128(5, 2), pa.float64()),
    (pa.decimal128(38, 0), pa.decimal128(38, 10)),
    (pa.string(), pa.binary()),
    (pa.uuid(), pa.string()),
    (STRUCT, pa.map_(pa.string(), pa.int32())),
    (STRUCT, pa.list_(pa.int32())),
    (pa.struct([("a", pa.int32()), ("a", pa.int64())]), STRUCT),
]


@pytest.mark.parametrize(("one", "other", "both"), FAMILIES)
def test_types_of_one_family_have_a_wider_one(one: pa.DataType, other: pa.DataType, both: pa.DataType):
    assert (wider(one, other), wider(other, one)) == (both, both)
    assert wider(pa.list_(one), pa.list_(other)) == pa.list_(both)
    assert wider(pa.struct([("x", one)]), pa.struct([("x", other)])) == pa.struct([("x", both)])


@pytest.mark.parametrize(("one", "other"), MIXTURES)
def test_types_of_two_families_have_none(one: pa.DataType, other: pa.DataType):
    assert wider(one, other) is None
    assert wider(other, one) is None


@pytest.fixture(params=["gathered", "in parts"])
def column(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write arrays or lists of values, one batch each, and read the column back."""
    if request.param == "in parts":
        monkeypatch.setattr(output_module, "_GROUP_ROWS", 1)

    def write(*pages: pa.Array | list[Any]) -> pa.ChunkedArray:
        with OutputWriter(tmp_path / f"{uuid4().hex}.parquet") as writer:
            for page in pages:
                is_list = isinstance(page, list)
                writer.add(arrowize([{"v": v} for v in page]) if is_list else pa.record_batch({"v": page}))
            output = writer.finish()
        read = pq.read_table(output.path).column("v")
        assert output.schema.field("v").type in (read.type, output.schema.field("v").type)
        return read

    return write


@pytest.mark.parametrize(
    ("pages", "values"),
    [
        ([pa.array(["a"], pa.large_string()), pa.array(["b", None])], ["a", "b", None]),
        ([pa.array(["a"], pa.string_view()), pa.array(["b"]).dictionary_encode()], ["a", "b"]),
        ([pa.array([b"ab"], pa.binary(2)), pa.array([b"c"], pa.large_binary())], [b"ab", b"c"]),
        ([pa.array([[1]], I8S), pa.array([[2**40]], pa.large_list(pa.int64()))], [[1], [2**40]]),
        ([pa.array([[1, 2]], pa.list_(pa.int8(), 2)), pa.array([None, []], VIEW)], [[1, 2], None, []]),
        ([pa.array([2**64 - 1], pa.uint64()), pa.array([-1], pa.int8())], [Decimal(2**64 - 1), Decimal(-1)]),
        ([pa.array([NOON], pa.time32("s")), pa.array([LATER], pa.time64("us"))], [NOON, LATER]),
        ([pa.array([LAST], pa.date32()), pa.array([FIRST], pa.date64())], [LAST, FIRST]),
        ([pa.array([[("k", 1)]], MAP), pa.array([[("k", 2**40)]], BIG_MAP)], [[("k", 1)], [("k", 2**40)]]),
    ],
)  # fmt: skip
def test_a_column_of_one_family_keeps_its_values(column: Any, pages: list[pa.Array], values: list[Any]):
    assert column(*pages).to_pylist() == values


@pytest.mark.parametrize(
    ("pages", "values"),
    [
        ([[{}], [{"a": 1}]], [{"a": None}, {"a": 1}]),
        ([[{"m": {}}, None], [{"m": {"k": "v"}}]], [{"m": {"k": None}}, None, {"m": {"k": "v"}}]),
        ([[[{}]], [[{"a": 1.5}]]], [[{"a": None}], [{"a": 1.5}]]),
        ([[[]], [None], [[{"a": [None]}]], [[{"a": ["x"]}]]], [[], None, [{"a": [None]}], [{"a": ["x"]}]]),
        ([[NONE], [{"a": {"b": None}}], [{"a": {"b": 1}}]], [NONE, {"a": {"b": None}}, {"a": {"b": 1}}]),
        ([[{}], [{}]], ["{}", "{}"]),
        ([[{}], [1]], ["{}", "1"]),
    ],
)  # fmt: skip
def test_an_absence_takes_the_first_type_that_comes(column: Any, pages: list[list[Any]], values: list[Any]):
    assert column(*pages).to_pylist() == values


@pytest.mark.parametrize(
    ("pages", "texts"),
    [
        (
            [pa.array([1704067200123456789], pa.timestamp("ns")), pa.array(["x"])],
            ["2024-01-01T00:00:00.123456789", "x"],
        ),
        ([pa.array([2**40], pa.timestamp("s")), pa.array([1], pa.timestamp("ns"))], None),
        ([pa.array([3_000_000], pa.date32()), pa.array(["x"])], ["+10183-09-21", "x"]),
        ([pa.array([Decimal("0E-10")], pa.decimal128(12, 10)), pa.array([0.5])], ["0.0000000000", "0.5"]),
        ([pa.array([b"\xff"]), pa.array(["x"])], ["/w==", "x"]),
        ([pa.array([5], pa.duration("ns")), pa.array(["x"])], ["PT0.000000005S", "x"]),
        ([pa.array([[2**63 - 1]]), pa.array([["x"]])], ["[9223372036854775807]", '["x"]']),
    ],
)
def test_what_becomes_text_never_goes_through_an_object_that_cannot_hold_it(
    column: Any, pages: list[pa.Array], texts: list[str] | None
):
    found = column(*pages).to_pylist()

    assert found == texts if texts else all(isinstance(text, str) for text in found)


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([pa.MonthDayNano([1, 2, 3])]), ["P1M2DT0.000000003S"]),
        (pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array(["a"])), ["a", "a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([[1]], pa.list_view(pa.int8())), [[1]]),
        (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
        (pa.array([1.5], pa.float16()), [1.5]),
        (pa.array([{"a": ["x"]}], pa.struct([("a", pa.list_view(pa.string_view()))])), [{"a": ["x"]}]),
        (pa.array([None, {}], pa.struct([])), [None, "{}"]),
    ],
)
def test_a_type_that_parquet_lacks_is_stored_by_its_values(column: Any, array: pa.Array, values: list[Any]):
    assert column(array).to_pylist() == values


def deep(levels: int) -> pa.Array:
    array = pa.array([1])
    for _ in range(levels):
        array = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), array)
    return array


def test_a_deep_type_is_stored_as_text_and_one_beyond_is_refused_by_its_name(column: Any):
    assert not is_deep(deep(32).type)
    assert is_deep(deep(33).type)
    assert column(deep(32)).to_pylist() == deep(32).to_pylist()
    assert column(deep(60)).to_pylist() == ["[" * 60 + "1" + "]" * 60]
    with pytest.raises(TooDeep, match="Column 'v' is nested too deep"):
        column(deep(150))


def test_a_schema_of_plain_types_is_stored_as_it_is():
    fields = [(kind.__str__(), kind) for kind in (pa.int8(), pa.large_string(), pa.uuid(), pa.list_(STRUCT))]

    assert storable(pa.schema(fields)) == pa.schema(fields)
