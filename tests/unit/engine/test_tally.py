"""A run's receipt: figures that must agree."""

import logging

import pyarrow as pa
import pytest

from headrace.connectors import LoadResult, RunWarning, SchemaChange, WriteDisposition
from headrace.engine.tally import SumsDisagree, Tally, check_load
from headrace.receipts import ColumnChange, Receipt

SCHEMA = pa.schema({"id": pa.int64(), "name": pa.string()})


def tally(*, read: int = 10, after: int = 8) -> Tally:
    counted = Tally()
    counted.begin(5, {"id": "int32", "old": "bool"})
    counted.read(read, new=read)
    counted.transformed(read, after)
    return counted


def test_a_receipt_has_the_rows_at_each_step() -> None:
    counted = tally()
    counted.written(8, SCHEMA, 9)
    counted.loaded(LoadResult(rows=8, location="here", inserted=5, updated=3, total=20))

    receipt = counted.receipt()

    assert (receipt.read, receipt.dropped, receipt.written, receipt.loaded) == (10, 2, 8, 8)
    assert (receipt.inserted, receipt.updated, receipt.deleted, receipt.total) == (5, 3, None, 20)
    assert (receipt.cursor_from, receipt.cursor_to, receipt.location) == (5, 9, "here")


def test_each_changed_column_is_listed() -> None:
    counted = tally()
    counted.written(8, SCHEMA, 9)
    moved = (SchemaChange(column="name", before=None, after="TEXT"),)
    counted.loaded(LoadResult(rows=8, location="here", schema_changes=moved))

    assert set(counted.receipt().schema_changes) == {
        ColumnChange(column="id", before="int32", after="int64"),
        ColumnChange(column="name", before=None, after="string"),
        ColumnChange(column="old", before="bool", after=None),
    }
    assert counted.receipt().table_changes == (ColumnChange(column="name", before=None, after="TEXT"),)


def test_a_run_without_rows_says_nothing_of_the_columns() -> None:
    counted = tally(read=0, after=0)
    counted.written(0, pa.schema([]), 5)

    assert counted.receipt().schema_after == {"id": "int32", "old": "bool"}
    assert counted.receipt().schema_changes == ()


def test_rows_that_vanish_before_the_output_file_fail_the_run() -> None:
    with pytest.raises(SumsDisagree, match="7 rows were written where 8 were read"):
        tally().written(7, SCHEMA, 9)


@pytest.mark.parametrize(
    ("disposition", "result"),
    [
        ("append", LoadResult(rows=7, location="")),
        ("append", LoadResult(rows=8, location="", inserted=7)),
        ("merge", LoadResult(rows=8, location="", inserted=5, updated=4)),
        ("replace", LoadResult(rows=8, location="", total=16)),
    ],
)
def test_rows_that_vanish_or_double_in_the_destination_fail_the_run(
    disposition: WriteDisposition, result: LoadResult
) -> None:
    with pytest.raises(SumsDisagree):
        check_load(8, result, disposition)


def test_a_merge_may_touch_fewer_rows_than_came() -> None:
    check_load(8, LoadResult(rows=8, location="", inserted=1, updated=2, total=3), "merge")


def test_warnings_of_one_kind_are_added_up_and_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    counted = Tally()
    for _ in range(3):
        counted.warn(RunWarning(code="source.skipped", detail="A page was empty.", count=2))
    counted.warn(RunWarning(code="source.skipped", detail="Another one."))

    counted.log_warnings(logging.getLogger("test.tally"))

    assert [(each.detail, each.count) for each in counted.receipt().warnings] == [
        ("A page was empty.", 6),
        ("Another one.", 1),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "source.skipped: A page was empty. (6)",
        "source.skipped: Another one. (1)",
    ]


def test_thousands_of_different_warnings_are_bounded() -> None:
    counted = Tally()
    for number in range(1_000):
        counted.warn(RunWarning(code="source.odd", detail=f"Page {number} is odd."))

    found = counted.receipt().warnings
    assert len(found) == 101
    assert sum(each.count for each in found) == 1_000


def test_a_receipt_is_stored_and_read_back() -> None:
    counted = tally()
    counted.written(8, SCHEMA, {"place": [1]})
    counted.warn(RunWarning(code="a.b", detail="c"))

    assert Receipt.from_json(counted.receipt().as_json()) == counted.receipt()


def test_a_cursor_is_shown_by_its_value_and_cut_if_it_is_long() -> None:
    counted = Tally()
    counted.begin({"value": 7, "seen": "x" * 5_000}, None)
    counted.written(0, SCHEMA, {"position": "y" * 5_000})

    assert counted.receipt().cursor_from == 7
    assert len(str(counted.receipt().cursor_to)) == 1_001


def test_no_secret_gets_into_a_receipt() -> None:
    counted = Tally()
    counted.masked = lambda text: text.replace("s3cret", "***")
    counted.begin("s3cret", None)
    counted.read(1, new=1)
    counted.written(1, pa.schema({"s3cret": pa.int64()}), "s3cret")
    counted.warn(RunWarning(code="a.b", detail="s3cret"))
    counted.loaded(LoadResult(rows=1, location="s3cret"))

    assert "s3cret" not in counted.receipt().as_json()
