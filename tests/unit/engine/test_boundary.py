"""The boundary of incremental reads: every row once, whatever ties, comes late or has no cursor."""

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.connectors import Checkpoint, ReadRequest, RunWarning
from headrace.connectors.contract.order import kind_of, place
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.cursors import followers as cursors
from headrace.engine.cursors.boundary import Boundary, TiesChanged
from headrace.engine.cursors.followers import NoCursor
from headrace.engine.cursors.order import CursorMisplaced

Record = dict[str, Any]


class Run:
    """A run over pages of a source that gives all rows each time, or those from the cursor on."""

    def __init__(
        self, *pages: list[Record], cursor: Any = None, field: str | None = "at", **options: Any
    ) -> None:
        self.warnings: list[RunWarning] = []
        boundary = Boundary(field, cursor, warn=self.warnings.append, **{"inclusive": True} | options)
        self.request = boundary.request(ReadRequest(stream="things"))
        taken = [boundary.take(arrowize(page)) for page in pages]
        self.rows = [row for batch in taken for row in batch.to_pylist()]
        self.cursor = boundary.cursor()

    @property
    def ids(self) -> list[Any]:
        return [row["id"] for row in self.rows]


def at(*values: Any) -> list[Record]:
    return [{"id": number, "at": value} for number, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("values", "highest", "type_"),
    [
        ([8, 10, 9], 10, "integer"),
        (["8", "10", "9"], "10", "integer"),
        (["9.5", "10.25", "1e1"], "10.25", "decimal"),
        ([1.5, 2.5], 2.5, "decimal"),
        (["2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00Z"], "2024-01-01T00:00:00.5Z", "timestamp"),
        (["2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"], "2024-01-01T00:00:00Z", "timestamp"),
        (["2024-01-01T00:00:00.000000001Z", "2024-01-01T00:00:00Z"], "2024-01-01T00:00:00.000000001Z",
         "timestamp"),
        (["2024-01-02", "2024-01-01T23:59:59Z", "2024-01-01 10:00:00"], "2024-01-02", "date"),
        (["Fri, 05 Jan 2024 10:00:00 GMT", "Mon, 08 Jan 2024 09:00:00 GMT"],
         "Mon, 08 Jan 2024 09:00:00 GMT", "timestamp"),
        (["2024/1/9", "2024/1/10"], "2024/1/10", "timestamp"),
        (["9999-12-31T00:00:00Z", "1500-01-01T00:00:00Z"], "9999-12-31T00:00:00Z", "timestamp"),
        (["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "b0eebc999c0b4ef8bb6d6bb9bd380a11"],
         "b0eebc999c0b4ef8bb6d6bb9bd380a11", "uuid"),
        (["b", "a", "ü"], "ü", "text"),
        ([Decimal("9.50"), Decimal("10.00")], "10.00", "decimal"),
        ([date(2024, 1, 1), date(2024, 1, 2)], "2024-01-02", "date"),
        ([datetime(2024, 1, 1, tzinfo=UTC)], "2024-01-01T00:00:00+00:00", "timestamp"),
        (["123456789012345678901234567890", "9"], "123456789012345678901234567890", "integer"),
        ([1.0, float("inf"), float("nan")], 1.0, "decimal"),
        (["1", "NaN", "Infinity", None], "1", "integer"),
        ([2**63 - 1, 5], 2**63 - 1, "integer"),
    ],
)  # fmt: skip
def test_the_highest_cursor_is_the_highest_value_whatever_its_text(values, highest, type_):
    for order in (values, values[::-1]):
        for pages in ([at(*order)], [[record] for record in at(*order)]):
            found = Run(*pages)

            assert (found.cursor["value"], found.cursor["type"]) == (highest, type_)
            assert str(found.cursor["value"]) not in map(
                str, [row["at"] for row in Run(*pages, cursor=found.cursor).rows]
            )


def test_text_that_turns_out_to_be_no_number_is_ordered_as_text_from_its_first_row_on():
    assert Run(at("10", "9"), at("A1")).cursor["value"] == "A1"
    assert Run(at("10", "9"), at("+")).cursor["value"] == "9"


def test_a_row_that_ties_with_the_cursor_is_delivered_once():
    first = Run(at("2024-01-01"))
    second = Run(at("2024-01-01", "2024-01-01"), cursor=first.cursor)
    third = Run(at("2024-01-01", "2024-01-01", "2024-01-02"), cursor=second.cursor)

    assert (first.ids, second.ids, third.ids) == ([1], [2], [3])


def test_equal_rows_are_told_apart_by_their_number():
    row = {"id": 1, "at": 5}
    first = Run([row, row])

    assert len(Run([row, row, row], cursor=first.cursor).rows) == 1
    assert Run([row], cursor=first.cursor).rows == []


def test_a_row_at_the_cursor_that_has_changed_comes_again():
    first = Run([{"id": 1, "at": 5, "name": "old"}])

    assert Run([{"id": 1, "at": 5, "name": "new"}], cursor=first.cursor).ids == [1]


def test_a_row_is_known_again_whatever_types_and_columns_its_page_has():
    row = {"id": 1, "at": 5, "size": 1, "tags": [{"a": 1}], "more": {"x": [1, None], "y": None}}
    other = {"id": 2, "at": 4, "size": 1.5, "tags": [{"a": 2.5, "b": "x"}], "more": {"z": 1}, "late": True}
    first = Run([row])

    assert Run([other, row], cursor=first.cursor).ids == [2]


def test_rows_without_a_cursor_are_delivered_once_and_counted():
    first = Run(at(None, "2024-01-01", None))
    second = Run([*at(None, "2024-01-01", None), {"id": 4, "at": None}], cursor=first.cursor)

    assert (first.ids, second.ids) == ([1, 2, 3], [4])
    assert [(w.code, w.count) for w in first.warnings + second.warnings] == [
        ("cursor.null", 2),
        ("cursor.null", 1),
    ]
    assert first.cursor["value"] == "2024-01-01"


def test_a_stream_of_nulls_alone_is_delivered_once():
    first = Run(at(None, None))

    assert Run(at(None, None), cursor=first.cursor).rows == []


def test_a_lookback_delivers_what_comes_late_within_its_window_and_nothing_twice():
    first = Run(at("2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z"), lookback=3600)
    late = {"id": 3, "at": "2024-01-01T10:30:00Z"}
    second = Run(
        [*at("2024-01-01T10:00:00Z", "2024-01-01T11:00:00Z"), late], cursor=first.cursor, lookback=3600
    )

    assert second.request.cursor == "2024-01-01T10:00:00Z"
    assert second.ids == [3]
    assert Run([late], cursor=second.cursor, lookback=3600).rows == []


@pytest.mark.parametrize(
    ("value", "lookback", "start"),
    [
        (10, 3, 7), (10.5, 0.25, 10.25), ("10", 3, "7"), ("10.50", 1, "9.50"),
        ("2024-01-02", 60, "2024-01-01"),
        ("2024-01-02T00:00:00.123456789Z", 1, "2024-01-01T23:59:59.123456Z"),
        ("2024-01-02 00:00:00+02:00", 1, "2024-01-01 23:59:59+02:00"),
        ("Tue, 02 Jan 2024 00:00:00 GMT", 60, "Mon, 01 Jan 2024 23:59:00 GMT"),
        (datetime(2024, 1, 2, tzinfo=UTC), 1, "2024-01-01T23:59:59+00:00"),
    ],
)  # fmt: skip
def test_the_source_is_asked_from_the_start_of_the_window_in_the_cursors_own_form(value, lookback, start):
    first = Run(at(value), lookback=lookback)

    assert Run(cursor=first.cursor, lookback=lookback).request.cursor == start


@pytest.mark.parametrize(
    ("values", "lookback"),
    [
        (["2024-01-01", "2024-01-02"], 60),  # the source is asked for the whole day before
        (["2024-01-01T00:00:01.000000001Z", "2024-01-01T00:00:02.000000999Z"], 1),
        (["Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:01 GMT"], 0.5),
        ([1.0, 8.2, 16.4], 8.2),
        ([0.1, 0.2, 0.3], 0.1),
    ],
)
def test_rows_that_the_source_gives_below_the_window_are_not_delivered_twice(values, lookback):
    first = Run(at(*values), lookback=lookback)

    again = Run(at(*values), cursor=first.cursor, lookback=lookback)
    start = place(again.request.cursor, kind_of(values[0]))
    read = [row for row in at(*values) if place(row["at"], kind_of(values[0])) >= start]

    assert Run(read, cursor=first.cursor, lookback=lookback).rows == []


def test_a_lookback_that_is_set_or_raised_later_delivers_nothing_twice():
    rows: list[Record] = []
    delivered, cursor = [], None
    for number, lookback in enumerate([None, 5, 5, 3, 8, 20, 20, None, 9]):
        rows += [{"id": len(rows) + n, "at": len(rows) + n} for n in range(10 if number == 0 else number % 3)]
        start = Run(cursor=cursor, lookback=lookback).request.cursor
        read = [row for row in rows if start is None or row["at"] >= start]
        found = Run(*([read] if read else []), cursor=cursor, lookback=lookback)
        delivered += found.ids
        cursor = found.cursor

    assert delivered == [row["id"] for row in rows]


def test_a_read_of_nothing_leaves_the_lookbacks_window_as_it_is():
    first = Run(at(1, 5, 10), lookback=5)
    nothing = Run(cursor=first.cursor, lookback=5)

    assert nothing.cursor["window"] == first.cursor["window"]


def test_a_lookback_that_is_set_later_reaches_no_further_than_what_is_known_unless_rows_are_merged():
    first = Run(at(1, 5, 10))

    assert Run(cursor=first.cursor, lookback=5).request.cursor == 10
    assert Run(cursor=first.cursor, lookback=5, merges=True).request.cursor == 5


def test_a_bare_cursor_reads_what_is_greater_and_says_so_and_what_ties_where_rows_are_merged():
    appended, merged = Run(at(7, 8, None), cursor=7), Run(at(7, 8), cursor=7, merges=True)

    assert (appended.request.inclusive, merged.request.inclusive) == (False, True)
    assert [warning.code for warning in appended.warnings] == ["cursor.ties_unknown"]
    assert Run(cursor=7).cursor == 7
    assert Run(at(7, 8, None), cursor=appended.cursor).ids == [1]


def test_a_value_without_a_place_in_the_order_fails_with_its_record_and_not_its_value():
    first = Run(at("8", "9"))

    with pytest.raises(CursorMisplaced) as caught:
        Run(at("10"), at("11", "secret"), cursor=first.cursor)

    assert "Record 3 " in caught.value.detail
    assert "'at'" in caught.value.detail
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("value", ["31/12/2024", "12/31/2024", "Jan 5, 2024", "5 January 2024", "05.01.2024"])
def test_dates_whose_order_nobody_can_tell_are_refused_unless_text_is_declared(value):
    with pytest.raises(NoCursor, match="cursor_type"):
        Run(at(value))
    assert Run(at(value), declared="text").cursor["value"] == value


@pytest.mark.parametrize("value", [True, [1], {"a": 1}, b"x"])
def test_values_without_an_order_are_refused(value):
    with pytest.raises(NoCursor):
        Run(at(value))


def test_a_declared_type_is_kept_to():
    assert Run(at("10", "9"), declared="text").cursor["value"] == "9"
    with pytest.raises(CursorMisplaced):
        Run(at("2024-01-01"), declared="integer")


def test_a_lookback_of_text_is_refused():
    with pytest.raises(NoCursor, match="lookback"):
        Run(at("a", "b"), lookback=5)


def test_too_many_ties_are_known_by_their_number_and_new_ones_among_them_fail_an_append(monkeypatch):
    monkeypatch.setattr(cursors, "MOST_HASHES", 3)
    first = Run(at(5, 5, 5, 5))
    unchanged = Run(at(5, 5, 5, 5), cursor=first.cursor)
    moved = Run([*at(5, 5, 5, 5), {"id": 5, "at": 6}], cursor=first.cursor)

    assert (first.cursor["ties"], unchanged.rows, moved.ids) == (4, [], [5])
    assert [warning.code for warning in first.warnings] == ["cursor.ties_counted"]
    with pytest.raises(TiesChanged):
        Run(at(5, 5, 5, 5, 5), cursor=first.cursor)
    assert len(Run(at(5, 5, 5, 5, 5), cursor=first.cursor, merges=True).rows) == 5


def test_too_many_nulls_are_known_by_their_number(monkeypatch):
    monkeypatch.setattr(cursors, "MOST_HASHES", 2)
    first = Run(at(None, None, None, 5))

    assert first.cursor["null_rows"] == 3
    assert Run(at(None, None, None, 5), cursor=first.cursor).rows == []
    with pytest.raises(TiesChanged):
        Run(at(None, None, None, None), cursor=first.cursor)


def test_a_window_of_too_many_rows_is_shortened_and_says_so(monkeypatch):
    monkeypatch.setattr(cursors, "MOST_HASHES", 4)
    first = Run(at(1, 2, 3, 4, 5, 6), lookback=10)
    second = Run(at(*range(1, 7)), cursor=first.cursor, lookback=10)

    assert [warning.code for warning in first.warnings] == ["cursor.lookback_shortened"]
    assert first.cursor["window"] < 5
    assert [row["at"] for row in second.rows if row["at"] >= second.request.cursor] == []


def test_a_window_in_which_all_rows_tie_is_given_up_for_their_number(monkeypatch):
    monkeypatch.setattr(cursors, "MOST_HASHES", 4)
    first = Run(at(4, *[5] * 9), at(*[5] * 9), lookback=10)

    assert (first.cursor["ties"], Run(at(*[5] * 9), cursor=first.cursor, lookback=10).request.cursor) == (
        18,
        5,
    )


def test_a_checkpoint_of_the_same_place_keeps_the_sources_own_form():
    boundary = Boundary("at", None, inclusive=True)
    boundary.take(arrowize(at("2024-01-01T00:00:00Z")))
    boundary.checkpoint(Checkpoint(cursor="2024-01-01 00:00:00+00"))
    cursor = boundary.cursor()

    assert cursor["value"] == "2024-01-01 00:00:00+00"
    assert cursor["seen"]


def test_without_a_field_the_checkpoints_are_the_cursor():
    boundary = Boundary(None, {"page": 1})
    boundary.checkpoint(Checkpoint(cursor={"page": 2}))

    assert boundary.cursor() == {"page": 2}
    assert Boundary(None, {"page": 1}).cursor() == {"page": 1}


def test_what_a_source_tells_apart_itself_is_never_taken_for_old():
    row = {"id": 1, "at": 5}
    first = Run([row])
    boundary = Boundary("at", first.cursor, inclusive=True)
    boundary.request(ReadRequest(stream="things")).told_apart()

    assert boundary.take(arrowize([row])).num_rows == 1
    assert Counter(len(boundary.cursor()[name]) for name in ("seen",)) == Counter({24: 1})


def test_arrow_types_of_every_unit_are_ordered_with_each_other():
    moments = [
        pa.array([1], pa.timestamp("s")), pa.array([1_500], pa.timestamp("ms")),
        pa.array([1_400_000], pa.timestamp("us")), pa.array([1_500_000_001], pa.timestamp("ns")),
    ]  # fmt: skip
    boundary = Boundary("at", None, inclusive=True)
    for moment in moments:
        boundary.take(pa.RecordBatch.from_arrays([moment], ["at"]))

    assert boundary.cursor()["value"] == "1970-01-01T00:00:01.500000001"
