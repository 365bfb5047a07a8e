"""What every SQL destination keeps to, by the steps that they share: owners, order of loads, the ledger."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from systems import SYSTEMS, System, started

from headrace.connectors import (
    Loaded,
    LoadResult,
    MovedOn,
    Rejected,
    RunWarning,
    SchemaConflict,
    TableOwned,
)
from headrace.connectors.kit.arrow.rendering import texts

_MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
OTHERS = {
    "whole": pa.array([7]),
    "fraction": pa.array([1.0]),
    "single": pa.array([0.1], pa.float32()),
    "infinite": pa.array([float("inf")]),
    "yes": pa.array([True]),
    "exact": pa.array([Decimal("1.50")]),
    "day": pa.array([dt.date(2024, 1, 2)]),
    "moment": pa.array([_MOMENT], pa.timestamp("us", "UTC")),
    "zoned": pa.array([_MOMENT], pa.timestamp("us", "Europe/Paris")),
    "fine": pa.array([1_704_164_645_000_000_001], pa.timestamp("ns")),
    "clock": pa.array([dt.time(1, 2, 3)]),
    "span": pa.array([90_000_000], pa.duration("us")),
    "raw": pa.array([b"\xea\xc6\xba"]),
    "list": pa.array([[1, None]]),
    "object": pa.array([{"a": 1, "b": None}]),
}
"""Columns of other types than text."""
ROWS = {"id": [1, 2], "v": ["a", "b"]}
MORE = {"id": [3], "v": ["c"]}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    with started(request.param, tmp_path, request) as made:
        yield made


def test_the_last_load_says_what_its_cursor_belongs_to_and_where_the_rows_are(system: System) -> None:
    assert system.destination.last_load("pipeline-1") is None

    system.load(ROWS, load_id="one", cursor={"id": 2}, identity="orders by id")

    assert system.destination.last_load("pipeline-1") == Loaded(
        load_id="one", cursor={"id": 2}, identity="orders by id", table="items", table_exists=True
    )
    assert system.destination.last_load("pipeline-2") is None


def test_a_table_that_is_gone_is_told(system: System) -> None:
    system.load(ROWS, load_id="one", cursor=2)

    system.run("DROP TABLE items")

    last = system.destination.last_load("pipeline-1")
    assert last is not None
    assert (last.cursor, last.table, last.table_exists) == (2, "items", False)


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_a_load_that_goes_on_from_another_load_than_the_last_one_is_refused(
    system: System, disposition: str
) -> None:
    key = {"primary_key": ("id",)}
    system.load(ROWS, disposition, load_id="one", cursor=2, continues=True, **key)
    system.load(MORE, disposition, load_id="late", cursor=3, continues=True, previous_load="one", **key)

    with pytest.raises(MovedOn):
        system.load(MORE, disposition, load_id="two", cursor=3, continues=True, previous_load="one", **key)
    with pytest.raises(MovedOn):
        system.load(MORE, disposition, load_id="two", cursor=3, continues=True, previous_load=None, **key)

    assert system.rows("id") == [(1,), (2,), (3,)]
    last = system.destination.last_load("pipeline-1")
    assert last is not None
    assert last.load_id == "late"


def test_a_run_without_new_rows_stores_its_cursor_and_changes_no_row(system: System) -> None:
    assert not system.advance(load_id="none", cursor=1, continues=True)
    system.load(ROWS, "append", load_id="one", cursor=2, identity="x")

    for _ in range(2):
        assert system.advance(load_id="two", cursor=3, identity="y", continues=True, previous_load="one")

    last = Loaded(load_id="two", cursor=3, identity="y", table="items")
    assert (system.destination.last_load("pipeline-1"), system.rows("id")) == (last, [(1,), (2,)])
    with pytest.raises(MovedOn):
        system.advance(load_id="late", cursor=9, continues=True, previous_load="one")
    assert not system.advance(load_id="x", cursor=9, pipeline_id="pipeline-2")


def test_a_cursor_is_not_stored_for_a_table_that_is_gone(system: System) -> None:
    system.load(ROWS, "append", load_id="one", cursor=2)
    system.run("DROP TABLE items")

    assert not system.advance(load_id="two", cursor=3, continues=True, previous_load="one")

    last = system.destination.last_load("pipeline-1")
    assert last is not None
    assert (last.load_id, last.table_exists) == ("one", False)


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_figures_are_checked_before_anything_is_published(system: System, disposition: str) -> None:
    system.load(ROWS, load_id="one", cursor=2)
    checked: list[LoadResult] = []

    def refuse(result: LoadResult) -> None:
        checked.append(result)
        raise Refused

    with pytest.raises(Refused):
        system.load(MORE, disposition, load_id="two", primary_key=("id",), check_result=refuse)

    assert checked[0].rows == 1
    assert checked[0].inserted in (1, None)
    assert system.rows("id") == [(1,), (2,)]
    last = system.destination.last_load("pipeline-1")
    assert last is not None
    assert last.load_id == "one"


class Refused(Exception):
    """Stands for the engine's error."""


def test_a_load_that_was_committed_is_not_done_again_whatever_it_goes_on_from(system: System) -> None:
    system.load(ROWS, "append", load_id="one", cursor=2)

    for _ in range(2):
        system.load(MORE, "append", load_id="two", cursor=3, continues=True, previous_load="one")

    assert system.rows("id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_a_table_of_another_pipeline_is_refused_by_its_name(system: System, disposition: str) -> None:
    system.load(ROWS, pipeline_name="orders")

    with pytest.raises(TableOwned, match=r"'orders' \(pipeline-1\)"):
        system.load(MORE, disposition, pipeline_id="pipeline-2", primary_key=("id",))

    assert system.rows("id") == [(1,), (2,)]
    assert system.destination.last_load("pipeline-2") is None


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_a_table_that_nobody_here_made_is_refused_unless_it_is_adopted(
    system: System, disposition: str
) -> None:
    system.load(ROWS)
    system.run("DELETE FROM _headrace_loads WHERE 1 = 1")

    with pytest.raises(TableOwned, match="there already"):
        system.load(MORE, disposition, primary_key=("id",))
    system.load(MORE, disposition, primary_key=("id",), adopt=True)
    system.load(MORE, disposition, primary_key=("id",))

    times = 2 if disposition == "append" else 1
    before = [] if disposition == "replace" else [(1,), (2,)]
    assert system.rows("id") == before + [(3,)] * times


def test_pipelines_that_share_a_table_add_to_it_and_never_replace_it(system: System) -> None:
    system.load(ROWS, "append", shared=True)
    system.load(MORE, "merge", pipeline_id="pipeline-2", shared=True, primary_key=("id",))
    system.load({"id": [4], "v": ["d"]}, "append", shared=True)

    with pytest.raises(Rejected, match="shared"):
        system.load(MORE, shared=True)
    with pytest.raises(TableOwned, match="pipeline-2"):
        system.load(MORE, "append")

    assert system.rows("id") == [(1,), (2,), (3,), (4,)]


def test_a_pipeline_that_adopts_a_table_is_its_owner_then_and_says_so(system: System) -> None:
    warnings: list[RunWarning] = []
    system.load(ROWS, pipeline_name="orders")

    system.load(MORE, "append", pipeline_id="pipeline-2", adopt=True, warn=warnings.append)

    assert [warning.code for warning in warnings] == ["destination.table_adopted"]
    assert "'orders' (pipeline-1)" in warnings[0].detail
    assert system.destination.last_load("pipeline-1") is None
    with pytest.raises(TableOwned, match="pipeline-2"):
        system.load(ROWS)


def test_a_pipeline_that_is_given_another_table_leaves_its_old_one(system: System) -> None:
    system.load(ROWS, load_id="one", cursor=2)

    system.load(MORE, table="others", load_id="two")

    last = system.destination.last_load("pipeline-1")
    assert last is not None
    assert last.table == "others"
    with pytest.raises(TableOwned, match="there already"):
        system.load(MORE)


def test_a_ledger_of_an_older_release_gets_its_new_columns(system: System) -> None:
    system.load(ROWS, load_id="one", cursor=2)
    for column in ("identity", "pipeline_name"):
        system.drop_column("_headrace_loads", column)

    last = system.destination.last_load("pipeline-1")
    assert last == Loaded(load_id="one", cursor=2, table="items")
    system.load(MORE, "append", load_id="two", cursor=3, identity="x", continues=True, previous_load="one")

    last = system.destination.last_load("pipeline-1")
    assert last == Loaded(load_id="two", cursor=3, identity="x", table="items")


@pytest.mark.parametrize("disposition", ["append", "merge"])
@pytest.mark.parametrize(
    "array",
    [
        pa.array([7]), pa.array([True]), pa.array([1.5]), pa.array([b"x"]), pa.array([dt.date(2024, 1, 2)]),
        pa.array([Decimal("1.5")]), pa.array([1], pa.timestamp("us", "UTC")), pa.array([[1]]),
        pa.array(["x"]),
    ],
    ids=lambda array: str(array.type),
)  # fmt: skip
def test_a_column_without_values_takes_the_type_of_the_first_ones(
    system: System, disposition: str, array: pa.Array
) -> None:
    if system.name == "bigquery":
        pytest.skip("BigQuery changes no STRING column to another type; docs/connectors/bigquery.md says so")
    key = {"primary_key": ("id",)}
    system.load(pa.table({"id": [0], "v": array}), table="plain", pipeline_id="plain")
    system.load(pa.table({"id": [1], "v": pa.nulls(1)}))
    system.load(pa.table({"id": [2], "v": pa.nulls(1)}), disposition, **key)

    system.load(pa.table({"id": [3], "v": array}), disposition, **key)

    expected = system.rows("v", table="plain")
    assert system.run("SELECT v FROM items WHERE id = 3") == expected
    assert system.run("SELECT count(*), count(v) FROM items") == [(3, 1)]
    assert system.types("items") == system.types("plain")


def test_a_column_without_values_that_was_made_for_another_type_takes_the_one_that_comes(
    system: System,
) -> None:
    if system.name == "bigquery":
        pytest.skip("BigQuery changes no BOOL column to another type; docs/connectors/bigquery.md says so")
    system.load(pa.table({"id": [1], "v": pa.nulls(1, pa.bool_())}))

    system.load({"id": [2], "v": [b"x"]}, "append")
    if system.name != "sqlite":  # where a BLOB column keeps whatever comes as it is
        with pytest.raises(SchemaConflict, match="'v'"):
            system.load({"id": [3], "v": [dt.date(2024, 1, 2)]}, "append")

    assert system.run("SELECT v FROM items WHERE id = 2") == [(b"x",)]


def test_a_column_of_text_that_another_made_stays_one(system: System) -> None:
    system.load(pa.table({"id": [1], "v": pa.nulls(1, pa.string())}))
    system.run("DELETE FROM _headrace_loads WHERE 1 = 1")

    system.load({"id": [2], "v": [7]}, "append", adopt=True)

    assert [str(value) for (value,) in system.run("SELECT v FROM items WHERE id = 2")] == ["7"]
    assert "int" not in system.types("items")["v"].lower()


def test_a_load_says_what_it_did_to_the_rows(system: System) -> None:
    key = {"primary_key": ("id",)}

    made = system.load(ROWS)
    appended = system.load(MORE, "append")
    merged = system.load({"id": [3, 4, 4], "v": ["x", "y", "z"]}, "merge", **key)
    replaced = system.load(ROWS)
    refilled = system.load(MORE, schema_contract="freeze")

    assert (made.inserted, made.total) == (2, 2)
    assert (appended.inserted, appended.total) == (1, 3 if system.name == "duckdb" else None)
    expected = {"bigquery": (None, None), "sqlite": (1, None)}.get(system.name, (1, 1))
    assert (merged.inserted, merged.updated) == expected
    assert (replaced.inserted, replaced.total) == (2, 2)
    assert (refilled.inserted, refilled.total) == (1, 1)
    assert refilled.deleted in (2, None)


def test_a_change_of_the_table_is_told_by_the_column_s_name(system: System) -> None:
    assert system.load({"id": pa.array([1], pa.int64()), "size": [2]}).schema_changes == ()

    added = system.load({"id": [2], "extra": ["x"]}, "append").schema_changes
    widened = system.load({"id": [2], "size": [2.5]}, "append").schema_changes
    gone = system.load({"id": [3]}).schema_changes
    nothing = system.load({"id": [4]}).schema_changes

    assert [(change.column, change.before) for change in added] == [("extra", None)]
    if system.name != "sqlite":  # which keeps fractions in a column of integers
        assert [change.column for change in widened] == ["size"]
    assert {(change.column, change.after) for change in gone} == {("size", None), ("extra", None)}
    assert nothing == ()


@pytest.mark.parametrize("unit", ["postgres", "mysql"])
def test_parts_of_a_microsecond_are_cut_with_a_warning(
    unit: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    warnings: list[RunWarning] = []
    times = {
        "at": pa.array([1001, 2000, None], pa.timestamp("ns")),
        "zoned": pa.array([-1, -1001, 0], pa.timestamp("ns", "UTC")),
        "day": pa.array([1000, 2000, None], pa.time64("ns")),
    }

    with started(unit, tmp_path, request) as system:
        system.load(pa.table(times), warn=warnings.append)

    assert [(warning.code, warning.count) for warning in warnings] == [
        ("destination.times_cut", 1), ("destination.times_cut", 2),
    ]  # fmt: skip
    assert "'at'" in warnings[0].detail


class Killed(BaseException):
    """Stands for a process that ends at this very point."""


@pytest.mark.parametrize("disposition", ["replace", "append", "merge"])
def test_a_first_load_that_is_killed_can_be_done_again(
    system: System, disposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    key = {"primary_key": ("id",), "cursor": 2, "continues": True}
    with pytest.raises(Killed):
        system.load(ROWS, disposition, before_commit=die, load_id="one", **key)
    with monkeypatch.context() as patched:
        patched.setattr("headrace.connectors.kit.loading.ledger.Ledger.write", die)
        with pytest.raises(Killed):
            system.load(ROWS, disposition, load_id="one", **key)

    system.load(ROWS, disposition, load_id="one", **key)

    assert system.rows("id") == [(1,), (2,)]


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_every_type_that_comes_into_a_column_of_text_has_its_one_form(
    system: System, disposition: str
) -> None:
    first = {"id": [0], **{name: ["text"] for name in OTHERS}}
    system.load(first, primary_key=("id",))

    system.load(pa.table({"id": [1], **OTHERS}), disposition, primary_key=("id",))

    written = {name: texts(array)[0].as_py() for name, array in OTHERS.items()}
    found = [system.run(f"SELECT {name} FROM items WHERE id = 1")[0][0] for name in OTHERS]
    assert dict(zip(OTHERS, found, strict=True)) == written
    assert written["zoned"] == "2024-01-02T04:04:05+01:00"


def test_a_type_that_comes_into_a_shared_column_without_values_has_its_one_form(system: System) -> None:
    if system.name == "sqlite":
        pytest.skip("a column without values is NUMERIC in SQLite, and text does not fit it")
    system.load(pa.table({"id": [1], "v": pa.nulls(1)}), "append", shared=True)

    system.load({"id": [2], "v": [b"x"]}, "append", shared=True)

    assert system.run("SELECT v FROM items WHERE id = 2") == [("eA==",)]
