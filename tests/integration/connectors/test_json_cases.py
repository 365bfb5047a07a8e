"""JSON from REST pages and from files, beside what other readers of JSON make of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from corpora import CORPORA
from effort import examples
from http_servers.server import Answer, Asked, serving
from hypothesis import given, settings
from hypothesis import strategies as st
from json_outcomes import CASES, PAGE, cases, outcomes, page

from headrace.connectors import ReadRequest
from headrace.connectors.rest.connector import RestSource
from headrace.engine.arrow.arrowize import arrowize
from headrace.engine.arrow.joining import joined
from headrace.engine.arrow.json_arrow import JsonArrow

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
_RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "é"]), _VALUES, max_size=3), max_size=12)
needs_cases = pytest.mark.skipif(not cases(), reason=f"JSONTestSuite's cases are not there: {CORPORA}")


@needs_cases
def test_the_page_tells_what_becomes_of_each_case():
    assert PAGE.read_text() == page(), "write it anew with `python tests/support/json_outcomes.py`"


@needs_cases
def test_each_case_has_the_same_outcome_as_a_page_and_as_a_file_and_it_is_the_right_one():
    for case, rest, file in outcomes():
        assert (rest.rows is None) == (file.rows is None), case.name
        assert not case.name.startswith("y_") or rest.rows is not None, case.name
        assert not case.name.startswith("n_") or rest.rows is None, case.name
        if case.name != "y_structure_lonely_null.json":  # no record of a page, and one of a file
            assert rest.rows == file.rows, case.name
        if case.name.startswith("y_"):
            assert rest.rows == by_another_reader((CASES / case.name).read_bytes()), case.name


def by_another_reader(text: bytes) -> list[dict[str, Any]]:
    found = json.loads(text)
    items = found if isinstance(found, list) else [] if found is None else [found]
    records = [item if isinstance(item, dict) else {"value": item} for item in items]
    return arrowize(
        [{key or "unnamed": value for key, value in record.items()} for record in records]
    ).to_pylist()


def by_offset(pages: list[list[Any]], asked: Asked) -> Answer:
    records = [record for found in pages for record in found]
    start, limit = int(asked.query["offset"]), int(asked.query["limit"])
    return Answer(body={"rows": records[start : start + limit], "total": len(records)})


def by_number(pages: list[list[Any]], asked: Asked) -> Answer:
    number = int(asked.query["page"])
    return Answer(body=pages[number] if number < len(pages) else [])


def by_cursor(pages: list[list[Any]], asked: Asked) -> Answer:
    number = int(asked.query.get("cursor", 0))
    more = {"next": str(number + 1)} if number + 1 < len(pages) else {"next": None}
    return Answer(body={"deep": {"rows": pages[number]}, **more})


def by_link(pages: list[list[Any]], asked: Asked) -> Answer:
    number = int(asked.query.get("n", 0))
    headers = {"Link": f'</?n={number + 1}>; rel="next"'} if number + 1 < len(pages) else {}
    return Answer(body={"data": pages[number], "odd": "x" * number}, headers=headers)


def by_url(pages: list[list[Any]], asked: Asked) -> Answer:
    number = int(asked.query.get("n", 0))
    more = {"@odata.nextLink": f"?n={number + 1}"} if number + 1 < len(pages) else {}
    return Answer(body={"value": pages[number], **more})


STYLES: list[tuple[Callable[[list[list[Any]], Asked], Answer], dict[str, Any]]] = [
    (
        by_offset,
        {"data_selector": "rows", "paginator": {"type": "offset", "limit": 3, "total_path": "total"}},
    ),
    (by_number, {"data_selector": "$", "paginator": {"type": "page_number", "stop_after_empty_page": True}}),
    (by_cursor, {"data_selector": "deep.rows", "paginator": {"type": "cursor", "cursor_path": "next"}}),
    (by_link, {}),
    (by_url, {}),
]


@settings(max_examples=examples(30))
@given(pages=st.lists(_RECORDS, min_size=1, max_size=4), style=st.integers(0, len(STYLES) - 1))
def test_what_a_rest_source_reads_is_what_plain_json_reads_of_the_same_pages(
    pages: list[list[dict[str, Any]]], style: int
):
    handler, keys = STYLES[style]
    if handler is by_number:
        pages = [found for found in pages if found]  # an empty page is the last

    with serving(lambda asked: handler(pages, asked)) as server:
        config = {"base_url": server.url, "repeated_pages": "allow", **keys}
        source = RestSource.model_validate(config)
        made, rows = JsonArrow(), []
        for item in joined(source.read(ReadRequest(stream="things"))):
            batch = arrowize(item) if isinstance(item, list) else made.batch(item)
            rows += batch.to_pylist()

    expected = [record for found in json.loads(json.dumps(pages)) for record in found]
    assert len(rows) == len(expected)
    for row, record in zip(rows, expected, strict=True):
        assert all(is_kept(record.get(name), row.get(name)) for name in record.keys() | row.keys())


def is_kept(value: Any, read: Any) -> bool:
    """Whether a value was read as it is, or as text that says it where its column has other types, too."""
    if isinstance(read, str) and not isinstance(value, str):
        return value is not None and is_kept(value, json.loads(read))
    if isinstance(value, dict):
        names = value.keys() | read.keys()
        return isinstance(read, dict) and all(is_kept(value.get(name), read.get(name)) for name in names)
    if isinstance(value, list):
        return isinstance(read, list) and len(value) == len(read) and all(map(is_kept, value, read))
    return isinstance(value, bool) == isinstance(read, bool) and bool(value == read)
