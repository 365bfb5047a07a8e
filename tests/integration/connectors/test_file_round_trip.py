"""What the `file` destination writes the `files` source reads back: the same rows, of the same types."""

import csv
import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arrow_tables import FLAT, TEXT, array_of, arrays, tables
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import request_for
from round_trips import batch_of, output_of

from headrace.connectors import LoadRequest, ReadRequest
from headrace.connectors.file.connector import FileDestination
from headrace.connectors.files.connector import FilesSource
from headrace.connectors.kit.arrow.parsing import from_json, parsed
from headrace.connectors.kit.arrow.plain_types import plain
from headrace.connectors.kit.arrow.rendering import json_lines, texts

_IN_NAMES = [
    (kind, values)
    for kind, values in FLAT
    if not isinstance(kind, pa.BaseExtensionType) and "binary" not in str(kind) and not pa.types.is_null(kind)
]
"""What folders' names may tell."""


def tried(examples: int) -> settings:
    return settings(max_examples=times("ROUND_TRIPS", examples, 10 * examples), database=None)


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
    output = output_of([batch_of(table)], folder / "work")
    request = LoadRequest(output=output, table="items", pipeline_id="pipeline-1", load_id="load-1")
    FileDestination.model_validate({"path": str(folder / "out"), "format": form, **config}).load(request)
    found = folder / "out" / (f"items/**/*.{form}" if config else f"items.{form}")
    return pq.read_table(request.output.path), _read(found)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@given(table=tables())
@tried(20)
def test_any_table_comes_back_as_it_was(form: str, table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written, read = _written_and_read(table, form, Path(folder))
        seconds = _by_another_reader(Path(folder) / "out" / f"items.{form}", form)

    assert read.schema.equals(written.schema)
    assert _rows(read) == _rows(written)
    assert sorted(map(str, seconds)) == sorted(map(str, _as_the_other_reads(written, form)))


def _by_another_reader(path: Path, form: str) -> list[Any]:
    """Return the rows as Python's `csv` and `json` read them, and the number of rows as DuckDB does."""
    if form == "csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))[1:]
    if form == "jsonl":
        return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    with duckdb.connect() as connection:
        return [connection.sql(f"SELECT id FROM read_parquet('{path}')").fetchall()]


def _as_the_other_reads(table: pa.Table, form: str) -> list[Any]:
    if form == "parquet":
        return [[(number,) for number in range(table.num_rows)]]
    columns = [texts(column).to_pylist() for column in table.columns]
    if form == "csv":
        return [[text or "" for text in row] for row in zip(*columns, strict=True)]
    return [json.loads(line) for batch in table.to_batches() for line in json_lines(batch).splitlines()]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@given(
    values=st.lists(st.none() | TEXT.filter(lambda text: len(text) < 100), min_size=1, max_size=4),
    data=st.data(),
)
@tried(15)
def test_columns_in_folders_names_come_back_in_their_place_and_type(
    form: str, values: list[str | None], data: st.DataObject
) -> None:
    kind, others = data.draw(st.sampled_from(_IN_NAMES))
    second = array_of([data.draw(st.none() | others) for _ in values], kind)
    table = pa.table({"part": pa.array(values, pa.string()), "id": range(len(values)), "other": second})
    with tempfile.TemporaryDirectory() as folder:
        written, read = _written_and_read(table, form, Path(folder), partition_by=["part", "other"])

    assert read.schema.equals(written.schema)
    assert _rows(read) == _rows(written)


@given(array=arrays(rows=3))
@tried(100)
def test_text_says_each_value_so_that_it_can_be_made_of_it_again(array: pa.Array) -> None:
    array = plain(array)
    again = parsed(texts(array), array.type)
    again.validate(full=True)
    assert again.type == array.type
    assert texts(again).to_pylist() == texts(array).to_pylist()
    if pa.types.is_nested(array.type):
        values = [None if text is None else json.loads(text) for text in texts(array).to_pylist()]
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
