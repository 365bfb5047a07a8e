"""The output file: whole or not there, whatever drifts, fills up or breaks."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.connectors import Output
from headrace.engine import output as output_module
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.widening import AmbiguousColumns
from headrace.engine.output import DiskFull, OutputWriter, PublishedBefore, open_output


@pytest.fixture(params=["gathered", "in parts"])
def write(request, tmp_path, monkeypatch):
    """Write pages, gathered into one row group or each flushed on its own: the file must say the same."""
    if request.param == "in parts":
        monkeypatch.setattr(output_module, "_GROUP_ROWS", 1)

    def write(*pages: list[dict] | pa.RecordBatch) -> Output:
        (tmp_path / "output.parquet").unlink(missing_ok=True)
        with OutputWriter(tmp_path / "output.parquet") as writer:
            for page in pages:
                writer.add(arrowize(page) if isinstance(page, list) else page)
            return writer.finish()

    yield write
    assert [path.name for path in tmp_path.iterdir()] == ["output.parquet"]


def values(output: Output, column: str = "a") -> list:
    return pq.read_table(output.path).column(column).to_pylist()


def test_a_new_column_on_page_500_is_null_before(write):
    output = write(*[[{"a": number}] for number in range(500)], [{"a": 500, "late": "x"}])

    assert values(output, "late") == [None] * 500 + ["x"]
    assert values(output) == list(range(501))


def test_a_column_all_null_and_then_text_is_text(write):
    assert values(write([{"a": None}], [{"a": "x"}])) == [None, "x"]


def test_integers_and_then_text_become_text(write):
    assert values(write([{"a": 1}], [{"a": "x"}], [{"a": 2}])) == ["1", "x", "2"]


def test_integers_and_then_floats_become_doubles(write):
    assert values(write([{"a": 1}], [{"a": 1.5}])) == [1.0, 1.5]


def test_an_integer_that_no_double_holds_is_not_rounded_by_a_later_float(write):
    assert values(write([{"a": 2**53 + 1}], [{"a": 1.5}])) == ["9007199254740993", "1.5"]


def test_booleans_and_then_integers_become_text(write):
    assert values(write([{"a": True}], [{"a": 1}])) == ["true", "1"]


def test_an_object_and_then_text_become_text(write):
    assert values(write([{"a": {"x": 1}}], [{"a": "x"}])) == ['{"x":1}', "x"]


def test_an_object_that_gains_a_key_stays_an_object(write):
    output = write([{"a": {"x": 1}}], [{"a": {"y": [{"z": 1}]}}], [{"a": {"x": 1.5, "y": [{"w": "t"}]}}])

    assert values(output) == [
        {"x": 1.0, "y": None},
        {"x": None, "y": [{"z": 1, "w": None}]},
        {"x": 1.5, "y": [{"z": None, "w": "t"}]},
    ]


def test_an_object_whose_key_changes_its_type_is_text(write):
    assert values(write([{"a": {"x": 1}}], [{"a": {"x": "t"}}])) == ['{"x":1}', '{"x":"t"}']


def test_an_object_without_keys_is_kept_as_text(write):
    assert values(write([{"a": {}}], [{"a": {}}])) == ["{}", "{}"]


def test_a_list_that_is_empty_first_keeps_its_later_items(write):
    assert values(write([{"a": []}], [{"a": ["x"]}])) == [[], ["x"]]


def test_times_of_two_units_keep_the_finer_one(write):
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    pages = [pa.record_batch({"a": pa.array([moment], pa.timestamp(unit, "UTC"))}) for unit in ("ms", "us")]

    assert values(write(*pages)) == [moment, moment]


def test_decimals_widen_up_to_38_digits_and_are_text_beyond(write):
    pages = [
        pa.record_batch({"a": pa.array([1], kind)}) for kind in (pa.decimal128(5, 2), pa.decimal128(9, 4))
    ]
    wide = pa.record_batch({"a": pa.array([1], pa.decimal128(38, 0))})

    assert pq.read_table(write(*pages).path).schema.field("a").type == pa.decimal128(9, 4)
    assert values(write(*pages, wide)) == ["1.00", "1.0000", "1"]


def test_an_empty_stream_gives_a_file_without_rows(write):
    output = write()

    assert output.rows == 0
    assert pq.read_table(output.path).num_rows == 0


def test_an_empty_batch_gives_a_file_with_its_columns(write):
    output = write(pa.RecordBatch.from_pylist([], schema=pa.schema([("a", pa.int64())])))

    assert pq.read_table(output.path).schema.names == ["a"]


def test_columns_in_another_order_are_the_same_columns(write):
    output = write([{"a": 1, "b": 2}], [{"b": 4, "a": 3}])

    assert values(output) == [1, 3]


def test_the_output_says_what_the_file_holds(write):
    output = write([{"a": 1}], [{"a": 2}])

    assert output.rows == 2
    assert output.size == output.path.stat().st_size
    assert pq.read_schema(output.path).equals(output.schema)


@pytest.mark.parametrize("pages", [[[{"a": 1}]], [[{"a": 1}], [{"a": "x"}]]], ids=["one part", "merged"])
def test_a_finished_output_is_opened_with_its_notes(tmp_path, monkeypatch, pages):
    monkeypatch.setattr(output_module, "_GROUP_ROWS", 1)
    notes = {"cursor": '{"time":"2024-01-01"}', "bytes": "8", "demand": ""}
    with OutputWriter(tmp_path / "output.parquet") as writer:
        for page in pages:
            writer.add(arrowize(page))
        written = writer.finish(notes)

    assert open_output(written.path) == (written, notes)


def test_two_columns_of_one_name_are_refused(tmp_path):
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])

    with OutputWriter(tmp_path / "output.parquet") as writer, pytest.raises(AmbiguousColumns):
        writer.add(batch)


def test_nothing_is_left_of_an_output_that_was_not_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "_GROUP_ROWS", 1)

    def write() -> None:
        with OutputWriter(tmp_path / "output.parquet") as writer:
            writer.add(arrowize([{"a": 1}]))
            writer.add(arrowize([{"a": "x"}]))
            raise KeyError

    with pytest.raises(KeyError):
        write()

    assert list(tmp_path.iterdir()) == []


def test_row_groups_have_just_the_rows_that_duckdb_keeps_together(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "_GROUP_ROWS", 100)

    with OutputWriter(tmp_path / "output.parquet") as writer:
        for start, count in ((0, 70), (70, 70), (140, 250), (390, 1)):
            writer.add(arrowize([{"n": n, "half": n / 2} for n in range(start, start + count)]))
        output = writer.finish()

    with pq.ParquetFile(output.path) as file:
        groups = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    assert groups == [100, 100, 100, 91]
    assert output.rows == 391
    assert [n for batch in output.batches() for n in batch.column("n").to_pylist()] == list(range(391))


def test_reading_it_back_takes_no_more_memory_than_a_row_group_however_wide_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(output_module, "_GROUP_BYTES", 1_000_000)
    wide = "x" * 100_000

    with OutputWriter(tmp_path / "output.parquet") as writer:
        for n in range(50):
            writer.add(arrowize([{"n": n, "wide": wide}]))
        output = writer.finish()

    batches = list(output.batches())
    assert [n for batch in batches for n in batch.column("n").to_pylist()] == list(range(50))
    assert max(batch.nbytes for batch in batches) < 1_200_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "output.parquet.part0").symlink_to("/dev/full")

    def write() -> None:
        with OutputWriter(tmp_path / "output.parquet") as writer:
            writer.add(arrowize([{"a": os.urandom(100).hex()} for _ in range(10_000)]))
            writer.finish()

    with pytest.raises(DiskFull) as caught:
        write()

    assert caught.value.code == "run.disk_full"
    assert list(tmp_path.iterdir()) == []


def test_only_strings_that_repeat_are_dictionary_encoded(tmp_path):
    with OutputWriter(tmp_path / "output.parquet") as writer:
        writer.add(arrowize([{"id": f"id-{number}", "country": "fr"} for number in range(1000)]))
        output = writer.finish()

    group = pq.ParquetFile(output.path).metadata.row_group(0)
    encodings = {group.column(index).path_in_schema: group.column(index).encodings for index in range(2)}
    assert "RLE_DICTIONARY" in encodings["country"]
    assert "RLE_DICTIONARY" not in encodings["id"]


def test_an_output_that_another_attempt_has_published_is_never_replaced(tmp_path):
    path, scratch = tmp_path / "output.parquet", tmp_path / "scratch"
    scratch.mkdir()

    with OutputWriter(path, parts=scratch) as paused, OutputWriter(path) as later:
        paused.add(arrowize([{"a": 1}]))
        later.add(arrowize([{"a": 1}, {"a": 2}]))
        output = later.finish()
        with pytest.raises(PublishedBefore):
            paused.finish()

    assert values(output) == [1, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["output.parquet", "scratch"]
    assert list(scratch.iterdir()) == []
