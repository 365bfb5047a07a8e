"""Incremental runs over a REST API: each record once where rows are appended, its newest where merged.

The oracle keeps what the API has and compares multisets; it knows nothing of cursors.
"""

import json
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from effort import examples
from http_servers.server import Answer, Asked, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from incremental import Read

from headrace.connectors import CutShort
from headrace.connectors.rest.connector import RestSource

Record = dict[str, Any]
_OFFSETS = ["Z", "+00:00", "+02:00", "-02:30"]


def iso(n: int) -> str:
    """The n-th second, in a form that depends on its number."""
    minutes = {"+02:00": 120, "-02:30": -150}.get(_OFFSETS[n % 4], 0)
    at = 1_700_000_000 + n + 60 * minutes
    fraction = ".000" if n % 3 == 0 else ""
    days, rest = divmod(at - 1_699_920_000, 86_400)
    hour, rest = divmod(rest, 3600)
    return f"2023-11-{14 + days:02}T{hour:02}:{rest // 60:02}:{rest % 60:02}{fraction}{_OFFSETS[n % 4]}"


FORMS: dict[str, Callable[[int], Any]] = {
    "number": lambda n: n,
    "number in quotes": str,
    "time": iso,
    "date of a header": lambda n: formatdate(1_700_000_000 + n, usegmt=True),
    "date": lambda n: f"2024-02-{n % 28 + 1:02}",
}


class Api:
    """A list of records in one order, three to a page, from a cursor on where it is asked for one."""

    def __init__(self, order: str | None) -> None:
        self.order = order
        self.records: list[tuple[int, Record]] = []  # the moment of each, and what it looks like

    def answer(self, asked: Asked) -> Answer:
        found = list(self.records)
        if self.order is not None:
            found.sort(key=lambda pair: pair[0], reverse=self.order == "desc")
        start = int(asked.query["offset"])
        return Answer(body={"data": [record for _, record in found[start : start + 3]], "total": len(found)})


def source(url: str, order: str | None, **keys: Any) -> RestSource:
    paginator = {"type": "offset", "limit": 3, "total_path": "total"}
    incremental = {"cursor_path": "at", "row_order": order}
    config = {"base_url": url, "data_selector": "data", "paginator": paginator, "incremental": incremental}
    return RestSource.model_validate({**config, "repeated_pages": "allow", **keys})


MOMENTS = st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=2, max_size=5)


@settings(max_examples=examples(40))
@given(
    history=MOMENTS,
    form=st.sampled_from(sorted(FORMS)),
    order=st.sampled_from([None, "asc", "desc"]),
    nulls=st.integers(0, 2),
    twins=st.booleans(),
)
def test_each_record_is_appended_once_whatever_ties_with_the_last_cursor(
    history: list[list[int]], form: str, order: str | None, nulls: int, twins: bool
):
    api, numbers = Api(order), iter(range(1000))
    delivered: list[Record] = []
    newest = 0
    with serving(api.answer) as server:
        cursor = None
        for moments in history:
            for step in moments:
                moment = newest + (step > 6)  # most tie with the newest so far; none is older
                newest = max(newest, moment)
                record = {"id": None if twins else next(numbers), "at": FORMS[form](moment)}
                api.records.insert(step % (len(api.records) + 1), (moment, record))
            if order is None:
                api.records += [(0, {"id": next(numbers), "at": None}) for _ in range(nulls)]
            read = Read(source(server.url, order), "things", "at", cursor)
            cursor = json.loads(json.dumps(read.cursor))
            delivered += read.rows

    assert multiset(delivered) == multiset([record for _, record in api.records])


def multiset(records: list[Record]) -> Counter[str]:
    return Counter(json.dumps([record.get("id"), record["at"]]) for record in records)


def test_a_record_that_changes_within_the_cursors_own_second_is_read_again():
    api = Api("desc")
    api.records = [(1, {"id": 1, "at": iso(1), "v": "old"}), (0, {"id": 2, "at": iso(0), "v": "old"})]
    with serving(api.answer) as server:
        first = Read(source(server.url, "desc", primary_key="id"), "things", "at", merges=True)
        api.records[0] = (1, {"id": 1, "at": iso(1), "v": "new"})
        second = Read(source(server.url, "desc", primary_key="id"), "things", "at", first.cursor, merges=True)

    assert [row["v"] for row in first.rows] == ["old", "old"]
    assert [row["v"] for row in second.rows] == ["new"]


def test_an_api_that_does_not_keep_to_its_order_loses_nothing():
    api = Api(None)
    api.records = [(n, {"id": n, "at": n}) for n in (5, 1, 3)]
    with serving(api.answer) as server:
        first = Read(source(server.url, "desc"), "things", "at")
        api.records = [(n, {"id": n, "at": n}) for n in (5, 1, 3, 2, 9, 8)]
        second = Read(source(server.url, "desc"), "things", "at", first.cursor)
        asc = Read(source(server.url, "asc"), "things", "at", first.cursor)

    assert (second.column("id"), second.codes) == ([9, 8], ["rest.not_in_order"])
    assert asc.column("id") == [9, 8]


@pytest.mark.parametrize("order", ["asc", "desc", None])
def test_a_run_that_is_cut_short_leaves_nothing_out_for_good(order: str | None):
    api = Api(order)
    api.records = [(n, {"id": n, "at": n // 2}) for n in range(10)]
    with serving(api.answer) as server:
        if order != "asc":  # the next run reads the same records again
            with pytest.raises(CutShort):
                Read(source(server.url, order), "things", "at", max_iterations=2)
        merges = order != "asc"
        cut = Read(source(server.url, order), "things", "at", max_iterations=2, merges=merges)
        rest = Read(source(server.url, order), "things", "at", cut.cursor, merges=merges)

    ids = sorted(row["id"] for row in cut.rows + rest.rows)
    assert set(ids) == set(range(10))
    if order == "asc":
        assert ids == list(range(10))
    else:
        assert "rest.cut_short" in cut.codes


def test_a_lookback_reads_what_comes_late_once():
    asked: list[str | None] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.query.get("since"))
        return Answer(
            body=[record for record in records if record["at"] >= int(request.query.get("since", 0))]
        )

    records = [{"id": n, "at": n} for n in (10, 20, 30)]
    keys: Record = {"data_selector": "$", "paginator": "single_page"}
    keys["incremental"] = {"cursor_path": "at", "start_param": "since"}
    with serving(answer) as server:
        first = Read(source(server.url, None, **keys), "things", "at", lookback=15)
        records += [{"id": 4, "at": 19}, {"id": 5, "at": 5}, {"id": 6, "at": 31}]
        second = Read(source(server.url, None, **keys), "things", "at", first.cursor, lookback=15)

    assert asked == [None, "15"]
    assert second.column("id") == [4, 6]
