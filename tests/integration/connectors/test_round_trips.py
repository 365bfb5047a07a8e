"""Any table into any SQL system and back: the same rows in the documented types, or a refusal by name."""

import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arrow_tables import tables
from effort import times
from hypothesis import HealthCheck, Phase, given, settings
from round_trips import (
    batch_of,
    documented,
    duration,
    held,
    output_of,
    parsed,
    read_back,
    row_of,
    shape,
    shapes,
)  # fmt: skip
from systems import SYSTEMS, System, started

from headrace.connectors import LoadRequest, Output, Rejected
from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.arrow.rendering import texts

_PAGE = documented()
_numbers = count()


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with started(request.param, tmp_path_factory.mktemp("system"), request) as made:
        yield made


@given(table=tables())
@settings(
    max_examples=times("ROUND_TRIPS", 8, 100),
    phases=[Phase.generate],  # to make a failure small takes minutes
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_any_table_comes_back_or_is_refused_by_its_columns_name(system: System, table: pa.Table) -> None:
    if system.name == "bigquery":
        table = table.drop_columns([field.name for field in table.schema if _is_too_long(field.type)])
    with tempfile.TemporaryDirectory() as folder:
        output = output_of([batch_of(table)], Path(folder))
        refused = _refused(system, output)
        if refused:
            _load_refused(system, output, refused)
            table = table.drop_columns(list(refused))
            output = output_of([batch_of(table)], Path(folder))
        _load_and_compare(system, output)


def _is_too_long(kind: pa.DataType) -> bool:
    """Whether our stand-in for BigQuery cannot hold such decimals: it has 20 digits and 18 decimals."""
    return pa.types.is_decimal(kind) and (kind.scale > 18 or kind.precision - kind.scale > 20)


def _request(output: Output, table: str) -> LoadRequest:
    return LoadRequest(
        output=output, table=table, pipeline_id=table, load_id=table, warn=lambda warning: None
    )


def _load_refused(system: System, output: Output, refused: set[str]) -> None:
    table = f"t{next(_numbers)}"

    with pytest.raises(Rejected) as raised:
        system.destination.load(_request(output, table))

    assert any(repr(name) in raised.value.detail or name[:40] in raised.value.detail for name in refused)
    assert system.types(table) == {}


def _load_and_compare(system: System, output: Output) -> None:
    table = f"t{next(_numbers)}"
    system.destination.load(_request(output, table))
    back = system.arrow(table) if system.source is None else read_back(system.source, table)
    sent = pq.read_table(output.path)
    declared = system.types(table)
    system.run(f"DROP TABLE {table}")

    assert back.num_rows == sent.num_rows
    assert back.num_columns == sent.num_columns
    order = back.column(0).cast(pa.int64()).combine_chunks().sort() if back.num_rows else None
    assert order is None or order.to_pylist() == list(range(sent.num_rows))
    back = back.take(pa.compute.sort_indices(back.column(0).cast(pa.int64()))) if back.num_rows else back
    for place, field in enumerate(sent.schema):
        given, came = (one.column(place).combine_chunks() for one in (sent, back))
        if system.name == "bigquery":
            kind = list(declared.values())[place]
        else:
            assert back.schema.names[place] == field.name
            kind = shape(came.type)
        assert kind in _types(system.name, field, given), f"{field}: {kind}"
        meant, found = _compared(system.name, given, came)
        assert found == meant, f"{field}"


def _types(system: str, field: pa.Field, given: pa.Array) -> set[str]:
    """Return the types that the page allows a column that comes back."""
    if system == "sqlite" and len(given) and given.null_count == len(given):
        return {"null"}
    return shapes(field.type, system, _PAGE)


def _compared(system: str, given: pa.Array, came: pa.Array) -> tuple[list[Any], list[Any]]:
    """Return what a column must hold, and what has come back, in the same terms."""
    is_a, row = pa.types, row_of(given.type)
    if is_a.is_nested(given.type) and system == "postgres":
        written = [parsed(text and text.replace("\\u0000", "")) for text in json_texts(given).to_pylist()]
        return written, held(came) if is_a.is_nested(came.type) else list(map(parsed, came.to_pylist()))
    if row in ("string", "json") and system == "postgres":
        written = [text and text.replace("\0", "") for text in texts(given).to_pylist()]
        return (
            (written, came.to_pylist())
            if row == "string"
            else (list(map(parsed, written)), list(map(parsed, came.to_pylist())))
        )
    if is_a.is_string(came.type) and not is_a.is_string(given.type):
        values = came.to_pylist()
        if is_a.is_nested(given.type):
            return [parsed(text) for text in json_texts(given).to_pylist()], list(map(parsed, values))
        if (is_a.is_duration(given.type) or is_a.is_time(given.type)) and system != "sqlite":
            return _cut(system, given), list(map(duration, values))
        return texts(given).to_pylist(), values
    if is_a.is_duration(given.type) and is_a.is_integer(came.type) and system != "duckdb":
        return held(given), [None if value is None else value * 1000 for value in held(came)]
    if is_a.is_nested(given.type) and is_a.is_nested(came.type):
        return held(_in_units(given)), held(came)
    return _cut(system, given), held(came)


def _in_units(array: pa.Array) -> pa.Array:
    """Return an array whose durations, within lists and objects, are the numbers that Arrow stores."""
    kind = array.type
    if pa.types.is_duration(kind):
        return array.cast(pa.int64())
    if pa.types.is_struct(kind):
        parts = [_in_units(part) for part in array.flatten()]
        names = [f"{place}" for place in range(kind.num_fields)]
        return pa.StructArray.from_arrays(parts, names, mask=array.is_null())
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("k", kind.key_type), ("v", kind.item_type)])))
    if not pa.types.is_nested(kind):
        return array
    lengths = pa.compute.fill_null(pa.compute.list_value_length(array), 0).cast(pa.int32())
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pa.compute.cumulative_sum(lengths)])
    return pa.ListArray.from_arrays(ends, _in_units(pa.compute.list_flatten(array)), mask=array.is_null())


def _cut(system: str, given: pa.Array) -> list[Any]:
    """Return a column's values; times as PostgreSQL and MySQL hold them, which warn of what they cut."""
    values = held(given)
    if system in ("postgres", "mysql") and row_of(given.type).startswith(("time64[ns", "timestamp[ns")):
        return [None if value is None else int(Decimal(value) / 1000) * 1000 for value in values]
    return values


# What each system refuses, by docs/connectors.

_SECOND = 10**9
_BEGIN, _END = -62_135_596_800, 253_402_300_800  # of the years 1 to 9999, in seconds
_YEARS = (_BEGIN // 86_400, _END // 86_400 - 1)
_DATES: dict[str, tuple[int, int]] = {  # in days, the first and the last
    "duckdb": (-(2**31) + 2, 2**31 - 2),
    "postgres": (-2_440_588, 2_145_031_948),
    "mysql": _YEARS,
    "bigquery": _YEARS,
}
_RANGES: dict[str, tuple[int, int]] = {  # of times with a date, in nanoseconds: the first, and the end
    "duckdb": (-9_223_372_022_400_000_000_000, (2**63 - 1) * 1000),
    "postgres": (-210_866_803_200 * _SECOND, 9_224_318_016_000_000 * 1000 * 1000),
    "mysql": (_BEGIN * _SECOND, _END * _SECOND),
    "bigquery": (_BEGIN * _SECOND, _END * _SECOND),
}
_FINE = {"postgres", "mysql", "bigquery"}  # durations are microseconds there


def _refused(system: System, output: Output) -> set[str]:
    """Return the names of the columns that the system must refuse."""
    table = pq.read_table(output.path)
    columns = zip(table.schema.names, table.columns, strict=True)
    values = {name for name, column in columns if _is_refused(system.name, column.combine_chunks())}
    return (values | _refused_names(system.name, table.schema.names)) - {"id"}


def _is_refused(system: str, array: pa.Array, *, top: bool = True) -> bool:
    kind, is_a = array.type, pa.types
    if is_a.is_nested(kind):
        if system != "duckdb":
            return False  # JSON holds all
        return _has_key_twice(array) or any(_is_refused(system, part, top=False) for part in _parts(array))
    if is_a.is_decimal(kind):
        return system == "duckdb" and kind.precision > 38
    if is_a.is_floating(kind):
        values = [value for value in array.to_pylist() if value is not None]
        if system == "sqlite":
            return any(value != value for value in values)
        return system == "mysql" and any(value != value or abs(value) == float("inf") for value in values)
    values = [value for value in held(array) if value is not None] if is_a.is_temporal(kind) else []
    if is_a.is_date(kind) and system in _DATES:
        low, high = _DATES[system]
        return any(not low <= value // (86_400 * _SECOND) <= high for value in values)
    if is_a.is_timestamp(kind) and system in _RANGES:
        low, end = _RANGES[system]
        finer = system == "bigquery" and any(value % 1000 for value in values)
        return finer or any(not low <= value < end for value in values)
    if is_a.is_time(kind):
        return system == "bigquery" and any(value % 1000 for value in values)
    if is_a.is_duration(kind):
        return _is_refused_duration(system, kind, values, top=top)
    return False


def _is_refused_duration(system: str, kind: pa.DataType, values: list[int], *, top: bool) -> bool:
    if system in _FINE:
        return any(value % 1000 or abs(value) >= 2**63 * 1000 for value in values)
    is_interval = system == "duckdb" and top and kind.unit in ("s", "ms")
    return is_interval and any(abs(value) >= 2**63 * 1000 for value in values)


def _parts(array: pa.Array) -> list[pa.Array]:
    if pa.types.is_struct(array.type):
        return list(array.flatten())
    if pa.types.is_map(array.type):
        entries = pa.compute.list_flatten(
            array.cast(pa.list_(pa.struct([("k", array.type.key_type), ("v", array.type.item_type)])))
        )
        return list(entries.flatten())
    return [array.flatten()]


def _has_key_twice(array: pa.Array) -> bool:
    if not pa.types.is_map(array.type):
        return False
    return any(len({key for key, _ in pairs}) < len(pairs) for pairs in held(array) if pairs)


_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


def _refused_names(system: str, names: list[str]) -> set[str]:
    found = {name for name in names if "\0" in name and system != "bigquery"}
    if system == "postgres":
        return found | {name for name in names if len(name.encode()) > 63 or name in _SYSTEM_COLUMNS}
    if system == "mysql":
        beyond = {name for name in names if len(name) > 64 or name.endswith(" ") or max(name) > "\uffff"}
        return found | beyond | _alike(names, _as_mysql_compares)
    if system == "bigquery":
        reduced = {name: re.sub(r"[^A-Za-z0-9_]", "_", name).lower() for name in names}
        return {name for name in names if len(name) > 300} | _alike(names, lambda name: reduced[name])
    return found | _alike(names, str.lower)


def _alike(names: list[str], form: Callable[[str], str]) -> set[str]:
    """Return the names that a system takes for one another's."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(form(name), []).append(name)
    return {name for same in found.values() if len(same) > 1 for name in same}


def _as_mysql_compares(name: str) -> str:
    """Names of columns are compared without case and accents (utf8_general_ci)."""
    return "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
