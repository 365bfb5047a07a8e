"""What the `file` destination writes the `files` source reads back: the same rows, of the same types."""

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import request_for

from headrace.connectors import ReadRequest
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.kit.arrow.parsing import from_json, parsed
from headrace.connectors.kit.arrow.rendering import texts

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["", '"', ",", "\r\n", "007", "1", "true", "NaN", "null", "\0", "a/b=c%", "__", " x "]
)


_FLAT: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), _INTEGERS),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.string(), _TEXT),
    (pa.large_string(), _TEXT),
    (pa.binary(), st.binary(max_size=4)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.decimal128(20, 10), st.decimals("-9999999999", "9999999999", places=10)),
    (pa.decimal256(60, 2), st.decimals("-9e30", "9e30", places=2)),
    (pa.date32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.time32("ms"), st.integers(0, 86_399_999)),
    (pa.time64("ns"), st.integers(0, 86_400 * 10**9 - 1)),
    (pa.timestamp("ms"), _INTEGERS),
    (pa.timestamp("us", "UTC"), _INTEGERS),
    (pa.timestamp("ns"), _INTEGERS),
    (pa.timestamp("us", "America/St_Johns"), st.integers(-(10**17), 10**17)),
    (pa.duration("us"), _INTEGERS),
    (pa.null(), st.none()),
    (pa.uuid(), st.binary(min_size=16, max_size=16)),
]
_NUMBERED = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Make an array of values, of which those of times are their integers."""
    if any(test(kind) for test in _NUMBERED):
        return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    return pa.array(values, kind)


@st.composite
def _columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind, values = draw(st.sampled_from(_FLAT))
    shape = draw(st.sampled_from(["flat", "flat", "list", "struct", "map"]))
    if shape == "list":
        lists = draw(
            st.lists(st.none() | st.lists(st.none() | values, max_size=3), min_size=rows, max_size=rows)
        )
        items = _array([item for one in lists for item in one or []], kind)
        ends = [0]
        for one in lists:
            ends.append(ends[-1] + len(one or []))
        return pa.ListArray.from_arrays(
            ends, items, mask=pa.array([one is None for one in lists], pa.bool_())
        )
    array = _array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
    if shape == "struct":
        return pa.StructArray.from_arrays(
            [array], ["a b"], mask=pa.array([draw(st.booleans()) for _ in range(rows)], pa.bool_())
        )
    if shape == "map":
        keys = draw(st.lists(_TEXT, min_size=rows, max_size=rows))
        return pa.MapArray.from_arrays(
            pa.array(range(rows + 1), pa.int32()), pa.array(keys, pa.string()), array
        )
    return array


@st.composite
def _tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 4))
    columns = draw(st.lists(_columns(rows=rows), min_size=1, max_size=4))
    return pa.table({f"column {number}": column for number, column in enumerate(columns)})


def _read(pattern: Path, **config: Any) -> pa.Table:
    source = FilesSource.model_validate({"paths": [str(pattern)], **config})
    batches = [
        batch for batch in source.read(ReadRequest(stream="items")) if isinstance(batch, pa.RecordBatch)
    ]
    return pa.Table.from_batches(batches)


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted(zip(*(texts(column).to_pylist() for column in table.columns), strict=True), key=str)


def _written_and_read(table: pa.Table, form: str, folder: Path, **config: Any) -> tuple[pa.Table, pa.Table]:
    """Return the table as a run's output holds it, and as it comes back."""
    (folder / "work").mkdir()
    request = request_for(table, folder / "work")
    FileDestination.model_validate({"path": str(folder / "out"), "format": form, **config}).load(request)
    found = folder / "out" / (f"items/**/*.{form}" if config else f"items.{form}")
    return pq.read_table(request.output.path), _read(found)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@given(table=_tables())
@settings(max_examples=examples(40))
def test_any_table_comes_back_as_it_was(form: str, table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written, read = _written_and_read(table, form, Path(folder))

    assert read.schema.equals(written.schema if form == "parquet" else table.schema)
    assert _rows(read) == _rows(written)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@given(values=st.lists(st.none() | _TEXT, min_size=1, max_size=4), data=st.data())
@settings(max_examples=examples(30))
def test_columns_in_folders_names_come_back_in_their_place_and_type(
    form: str, values: list[str | None], data: st.DataObject
) -> None:
    kind, others = data.draw(st.sampled_from(_FLAT[:7] + _FLAT[10:19]))
    second = _array([data.draw(st.none() | others) for _ in values], kind)
    table = pa.table({"part": pa.array(values, pa.string()), "id": range(len(values)), "other": second})
    with tempfile.TemporaryDirectory() as folder:
        written, read = _written_and_read(table, form, Path(folder), partition_by=["part", "other"])

    assert read.schema.equals(written.schema)
    assert _rows(read) == _rows(written)


@given(array=_columns(rows=3))
@settings(max_examples=examples(75))
def test_text_says_each_value_so_that_it_can_be_made_of_it_again(array: pa.Array) -> None:
    from msgspec import json

    again = parsed(texts(array), array.type)
    again.validate(full=True)
    assert again.type == array.type
    assert texts(again).to_pylist() == texts(array).to_pylist()
    if pa.types.is_nested(array.type):
        values = [None if text is None else json.decode(text) for text in texts(array).to_pylist()]
        assert texts(from_json(values, array.type)).to_pylist() == texts(array).to_pylist()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("yesterday", pa.date32()),
        ("P1Y", pa.duration("s")),
        ("1.5", pa.int64()),
        ("x", pa.binary()),
        ("x", pa.null()),
    ],
)
def test_text_that_says_no_value_of_the_type_is_refused(text: str, kind: pa.DataType) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several kinds of it
        parsed(pa.array([text]), kind)


def test_a_set_of_loads_comes_back_with_the_types_of_each_load(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    destination = FileDestination.model_validate({"path": str(tmp_path / "out"), "format": "csv"})
    for number, code in enumerate([["007", "x"], ["1", "2"]]):
        table = pa.table({"code": code, "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2))})
        request = request_for(
            table, tmp_path / "work", load_id=f"load-{number}", incremental=True, disposition="append"
        )
        destination.load(request)

    read = _read(tmp_path / "out" / "items" / "*.csv")

    assert sorted(read["code"].to_pylist()) == ["007", "1", "2", "x"]
    assert read.schema.field("price").type == pa.decimal128(10, 2)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_was_changed_since_is_read_by_the_rules_of_its_format(tmp_path: Path, form: str) -> None:
    _written_and_read(pa.table({"code": ["007", "1"], "n": pa.array([1, 2], pa.int8())}), form, tmp_path)
    path = tmp_path / "out" / f"items.{form}"
    content = path.read_text()

    path.write_text(content.replace("007", "008"))
    config: dict[str, Any] = {"paths": [str(path)]}
    (batch,) = FilesSource.model_validate(config).read(ReadRequest(stream="items"))

    rows = batch.to_pylist() if isinstance(batch, pa.RecordBatch) else list(batch)
    assert rows == [{"code": "008", "n": 1}, {"code": "1", "n": 2}]
    if isinstance(batch, pa.RecordBatch):
        assert batch.schema.field("n").type == pa.int64()


def test_the_notes_of_types_go_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    destination = FileDestination.model_validate(
        {"path": str(tmp_path / "out"), "format": "csv", "partition_by": "a"}
    )
    for number in range(3):
        destination.load(
            request_for(pa.table({"a": [number], "b": [1]}), tmp_path / "work", load_id=f"load-{number}")
        )

    assert len(list((tmp_path / "out" / "_headrace" / "types").rglob("*.json"))) == 1
    assert _read(tmp_path / "out" / "items" / "**" / "*.csv").to_pylist() == [{"a": 2, "b": 1}]
