"""docs/types.md, tried on records at random: what goes in comes out of Parquet, by the stated rules."""

import json
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine import output as output_module
from headrace.engine.arrowize import arrowize
from headrace.engine.output import OutputWriter

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FLOATS = st.floats(allow_nan=False)
_SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-5, 5) | _FLOATS | _TEXT
_TIMES = (
    st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0))
    | st.datetimes()
    | st.dates()
)
_DECIMALS = st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_PAGES = st.lists(
    st.lists(st.dictionaries(st.sampled_from(["id", "a", "b"]), _JSON, min_size=1), max_size=4), max_size=4
)
_TYPED_PAGES = st.lists(
    st.lists(st.dictionaries(st.sampled_from("xy"), _TIMES | _DECIMALS | _SCALARS, min_size=1), max_size=4),
    max_size=4,
)


def through_parquet(pages: list[list[dict[str, Any]]], group_rows: int) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(output_module, "_GROUP_ROWS", group_rows),
        OutputWriter(Path(folder) / "output.parquet") as writer,
    ):
        for page in pages:
            writer.add(arrowize(page))
        return pq.read_table(writer.finish().path).to_pylist()


def is_kept(value: Any, stored: Any) -> bool:
    """Whether a stored value is the given one under the rules."""
    if value is None:
        return stored is None
    if isinstance(stored, str):
        return stored == value if isinstance(value, str) else _is_kept_as_text(value, stored)
    if isinstance(stored, dict):
        missing = stored.keys() - value.keys()
        return all(is_kept(inner, stored[key]) for key, inner in value.items()) and all(
            stored[key] is None for key in missing
        )
    if isinstance(stored, list):
        return len(value) == len(stored) and all(map(is_kept, value, stored))
    if isinstance(value, bool) or isinstance(stored, bool):
        return value is stored
    if isinstance(stored, Decimal):
        return Decimal(value) == stored
    return bool(value == stored)


def _is_kept_as_text(value: Any, stored: str) -> bool:
    if isinstance(value, date | datetime):
        return stored == value.isoformat()
    if isinstance(value, Decimal):
        return Decimal(stored) == value
    return _equal(value, json.loads(stored))


def _equal(value: Any, read: Any) -> bool:
    """Equality of JSON, but that an object which was a struct for a while has a null for a missing key."""
    if isinstance(value, dict):
        return isinstance(read, dict) and all(_equal(value.get(key), read.get(key)) for key in value | read)
    if isinstance(value, list):
        return isinstance(read, list) and len(value) == len(read) and all(map(_equal, value, read))
    return isinstance(value, bool) == isinstance(read, bool) and bool(value == read)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pages=_PAGES | _TYPED_PAGES, group_rows=st.sampled_from([1, 3, 1_000_000]))
def test_any_records_come_out_of_parquet_as_they_went_in(pages, group_rows):
    records = [record for page in pages for record in page]

    stored = through_parquet(pages, group_rows)

    assert len(stored) == len(records)
    for record, row in zip(records, stored, strict=True):
        assert record.keys() <= row.keys()
        assert all(is_kept(record.get(name), value) for name, value in row.items()), (record, row)
