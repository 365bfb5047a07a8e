"""The suite for destinations: each check is one promise of `headrace.connectors.contract.Destination`.

Every check loads into a table of its own, so that a check that failed leaves nothing to the next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.conformance import configuration
from headrace.conformance.cases import Broken, Check, DestinationCase, NotApplicable, require
from headrace.connectors import LoadRequest, LoadResult, MovedOn, Output, SchemaConflict, SchemaFrozen

_ROWS = pa.table({"id": [1, 2, 3], "name": ["a", None, "cé"], "size": [1.5, None, -2.0]})
_ODD = pa.table({
    "id": [1],
    "nothing": pa.nulls(1),
    "list": [["a", None]],
    "object": [{"x": [{"y": 1}]}],
    "binary": [b"\xff\x00"],
})  # fmt: skip
_OTHER_SCHEMAS = {  # by the column that does not fit `_ROWS`
    "new": pa.table({"id": [4], "new": ["x"]}),
    "size": pa.table({"id": [4], "size": ["large"]}),
    "id": pa.table({"id": [4.5]}),
}


class _NoLongerOurs(Exception):
    """Stands for a run that was cancelled, or that another worker has taken over."""


class _Table:
    """One table of a case and the loads into it."""

    def __init__(self, case: DestinationCase, folder: Path, *, grows: bool = False) -> None:
        self._case = case
        self._grows = grows
        self._folder = folder
        self.name = f"conformance_{uuid4().hex[:8]}"
        self.pipeline_id = str(uuid4())

    def load(self, rows: pa.Table, **changes: Any) -> LoadResult:
        """Load rows as a run's output, by default in the place of what is there."""
        return self._case.connector.load(self.request(rows, **changes))

    def request(self, rows: pa.Table, **changes: Any) -> LoadRequest:
        """Ask for a load without carrying it out."""
        path = self._folder / f"{uuid4().hex}.parquet"
        pq.write_table(rows, path)
        output = Output(path=path, schema=rows.schema, rows=rows.num_rows, size=path.stat().st_size)
        usual: dict[str, Any] = {
            "table": self.name,
            "incremental": self._grows,
            "pipeline_id": self.pipeline_id,
            "load_id": uuid4().hex,
        }
        return LoadRequest(output=output, **(usual | changes))

    def require_refused(
        self, column: str, error: type[SchemaConflict], rows: pa.Table, disposition: str, **changes: Any
    ) -> None:
        """Require that a load is refused by this very error, which names the column."""
        try:
            self.load(rows, disposition=disposition, primary_key=("id",), **changes)
        except SchemaConflict as refused:
            named = (type(refused), refused.context.get("column"))
            require(named == (error, column), f"{named} was raised where {(error, column)} was due.")
        else:
            raise Broken(f"Column {column!r} does not fit the table, and its rows were taken.")

    def require_ids(self, *expected: int) -> None:
        """Require that the table holds these rows, where the case can tell."""
        if self._case.rows is not None:
            held = sorted(int(row["id"]) for row in self._case.rows(self.name))
            require(held == list(expected), f"The rows {list(expected)} were expected, and {held} are there.")


def a_load_takes_all_rows(case: DestinationCase, folder: Path) -> None:
    """A load says how many rows it took and where they are."""
    table = _Table(case, folder)

    result = table.load(_ROWS)

    require(result.rows == 3, f"3 rows were given and {result.rows} reported.")
    require(bool(result.location), "The result does not say where the rows are.")
    table.require_ids(1, 2, 3)


def a_replacing_load_leaves_nothing_behind(case: DestinationCase, folder: Path) -> None:
    """`replace` puts the new rows in the place of all that was there."""
    table = _Table(case, folder)
    table.load(_ROWS)

    require(table.load(_ROWS.slice(0, 1)).rows == 1, "The rows before were counted.")
    table.require_ids(1)


def a_stream_without_rows_is_published_as_empty(case: DestinationCase, folder: Path) -> None:
    """An empty result replaces what was there."""
    table = _Table(case, folder)
    table.load(_ROWS)

    require(table.load(_ROWS.slice(0, 0)).rows == 0, "Rows were reported for none.")
    table.require_ids()


def odd_columns_are_taken(case: DestinationCase, folder: Path) -> None:
    """Nested values, bytes and a column of nulls are stored somehow."""
    table = _Table(case, folder)

    table.load(_ODD)

    table.require_ids(1)


def a_schema_may_grow(case: DestinationCase, folder: Path) -> None:
    """What is added may have a new column, lack one, and hold wider numbers."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    table.load(pa.table({"id": pa.array([1], pa.int32()), "old": ["x"]}))

    table.load(pa.table({"id": pa.array([2**40], pa.int64()), "new": [1.5]}), disposition="append")

    table.require_ids(1, 2**40)


def what_does_not_fit_is_refused_by_the_column_s_name(case: DestinationCase, folder: Path) -> None:
    """A column that cannot hold old and new values both is named; nothing is converted with a loss."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    table.load(_ROWS)

    table.require_refused("size", SchemaConflict, pa.table({"id": [4], "size": [b"\xff"]}), "append")

    table.require_ids(1, 2, 3)


def a_frozen_schema_is_kept(case: DestinationCase, folder: Path) -> None:
    """Under `freeze` a load makes the table; later ones are refused by the column's name, or fit."""
    if "freeze" not in case.connector.schema_contracts:
        raise NotApplicable("the destination keeps no table whose schema could be held to")
    table = _Table(case, folder, grows=True)
    table.load(_ROWS, schema_contract="freeze", cursor=1)

    for disposition in case.connector.dispositions:
        for column, rows in _OTHER_SCHEMAS.items():
            table.require_refused(column, SchemaFrozen, rows, disposition, schema_contract="freeze", cursor=2)
    table.require_ids(1, 2, 3)
    last = case.connector.last_load(table.pipeline_id)
    require(last is None or last.cursor == 1, "The cursor of a refused load was kept.")

    fits = pa.table({"id": pa.array([4], pa.int32()), "name": pa.nulls(1)})
    table.load(fits, schema_contract="freeze", disposition="append")
    table.require_ids(1, 2, 3, 4)
    table.load(fits, schema_contract="freeze")
    table.require_ids(4)


def appended_rows_are_added(case: DestinationCase, folder: Path) -> None:
    """`append` keeps what was there."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    table.load(_ROWS)

    table.load(pa.table({"id": [4], "name": ["d"]}), disposition="append")

    table.require_ids(1, 2, 3, 4)


def merged_rows_replace_those_of_their_key(case: DestinationCase, folder: Path) -> None:
    """`merge` has one row for each key."""
    _require_disposition(case, "merge")
    table = _Table(case, folder, grows=True)
    table.load(_ROWS)

    table.load(pa.table({"id": [3, 4], "name": ["new", "d"]}), disposition="merge", primary_key=("id",))

    table.require_ids(1, 2, 3, 4)


def a_load_that_is_repeated_adds_nothing(case: DestinationCase, folder: Path) -> None:
    """A worker that died right after its commit may load again: under the same id, once is enough."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    load_id = uuid4().hex

    for _ in range(2):
        table.load(_ROWS, disposition="append", load_id=load_id)

    table.require_ids(1, 2, 3)


def a_run_that_was_lost_publishes_nothing(case: DestinationCase, folder: Path) -> None:
    """When `before_commit` raises, so does the load, and all stays as it was."""
    table = _Table(case, folder)
    table.load(_ROWS, cursor=1)
    before = case.connector.last_load(table.pipeline_id)

    def refuse() -> None:
        raise _NoLongerOurs

    try:
        table.load(_ROWS.slice(0, 1), cursor=2, before_commit=refuse)
    except Exception:  # whatever the connector makes of it: the engine remembers its own
        require(case.connector.last_load(table.pipeline_id) == before, "The cursor was moved.")
        table.require_ids(1, 2, 3)
    else:
        raise Broken("The load went on: `before_commit` was not called, or its error was hidden.")


def the_cursor_is_kept_with_the_data(case: DestinationCase, folder: Path) -> None:
    """The last load's id and cursor come back, for this pipeline only."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    require(case.connector.last_load(table.pipeline_id) is None, "There is a load before the first.")

    table.load(_ROWS, load_id="load-1", cursor={"at": 3})

    last = case.connector.last_load(table.pipeline_id)
    kept = last is not None and (last.load_id, last.cursor) == ("load-1", {"at": 3})
    require(kept, "last_load() does not give the load back.")
    require(case.connector.last_load(str(uuid4())) is None, "Another pipeline has the same load.")


def a_load_that_another_has_overtaken_is_refused(case: DestinationCase, folder: Path) -> None:
    """A load that goes on from another load than the last one raises MovedOn, and loads nothing."""
    _require_disposition(case, "append")
    table = _Table(case, folder, grows=True)
    table.load(_ROWS, load_id="load-1", cursor=3, disposition="append", continues=True)
    if case.connector.last_load(table.pipeline_id) is None:
        raise NotApplicable("the destination keeps no record of loads")
    more = pa.table({"id": [4], "name": ["d"]})
    later = {"cursor": 4, "disposition": "append", "continues": True}
    table.load(more, load_id="load-2", previous_load="load-1", **later)

    try:
        table.load(more, load_id="load-3", previous_load="load-1", **later)
    except MovedOn:
        table.require_ids(1, 2, 3, 4)
    else:
        raise Broken("Two loads went on from the same one: rows are there twice.")


def secrets_stay_secret(case: DestinationCase, folder: Path) -> None:
    """No text, log line or error of the destination holds a secret, whether it loads or fails."""
    table = _Table(case, folder)

    def load_and_fail(log: Any) -> None:
        table.load(_ROWS, log=log)
        table.load(_ROWS, log=log, disposition="merge", primary_key=("no_such_column",))

    configuration.require_discretion(case.connector, load_and_fail)


DESTINATION_CHECKS: Sequence[Check[DestinationCase]] = (
    configuration.is_described_and_strict,
    configuration.declares_its_secrets,
    configuration.check_is_a_sentence,
    a_load_takes_all_rows,
    a_replacing_load_leaves_nothing_behind,
    a_stream_without_rows_is_published_as_empty,
    odd_columns_are_taken,
    a_schema_may_grow,
    what_does_not_fit_is_refused_by_the_column_s_name,
    a_frozen_schema_is_kept,
    appended_rows_are_added,
    merged_rows_replace_those_of_their_key,
    a_load_that_is_repeated_adds_nothing,
    a_run_that_was_lost_publishes_nothing,
    the_cursor_is_kept_with_the_data,
    a_load_that_another_has_overtaken_is_refused,
    secrets_stay_secret,
)


def _require_disposition(case: DestinationCase, disposition: str) -> None:
    if disposition not in case.connector.dispositions:
        raise NotApplicable(f"the destination does not {disposition}")
