"""What must come back of a table that a run has loaded: by docs/types.md, and by no code of the connectors.

A column comes back with the type of the page's table "There and back" and the same values, or its name is
refused. Values are compared as integers, numbers, parsed JSON or text, not as the engine writes them.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from headrace.connectors import Output, ReadRequest, Source
from headrace.connectors.kit.arrow.rendering import texts
from headrace.engine.arrow.arrowize import arrowize, named
from headrace.engine.output import OutputWriter

_PAGE = Path(__file__).parents[2] / "docs" / "types.md"
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_DAY = 86_400 * 10**9
_ISO_DURATION = re.compile(r"(-?)P(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d+))?S)?)?")
_CLOCK = re.compile(r"(?:(-?\d+) days? ?)?(?:(-?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?)?")


def output_of(batches: list[pa.RecordBatch], folder: Path) -> Output:
    """Write batches as a run does."""
    with OutputWriter(folder / f"output-{len(list(folder.iterdir()))}.parquet") as writer:
        for batch in batches:
            writer.add(named(batch))
        return writer.finish()


def batch_of(table: pa.Table) -> pa.RecordBatch:
    """Return a table of one chunk as a batch, also where it has no rows."""
    return pa.RecordBatch.from_arrays([column.chunk(0) for column in table.columns], schema=table.schema)


def read_back(source: Source, stream: str) -> pa.Table:
    """Read a stream as a run does, and return its output."""
    items = source.read(ReadRequest(stream=stream, warn=lambda warning: None))
    with tempfile.TemporaryDirectory() as folder:
        batches = [item if isinstance(item, pa.RecordBatch) else arrowize(list(item)) for item in items]
        return pq.read_table(output_of(batches, Path(folder)).path)


def documented() -> dict[str, dict[str, str]]:
    """Return the table "There and back": of each row's name, each system's cell."""
    section = _PAGE.read_text().partition("## There and back\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    systems = [name.lower().replace("postgresql", "postgres") for name in head[1:]]
    return {
        name: dict(zip(systems, cells, strict=True))
        for names, *cells in rows
        for name in re.findall(r"`([^`]+)`", names)
    }


def row_of(kind: pa.DataType) -> str:
    """Return which row of the table is of a type."""
    is_a = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind.extension_name).removeprefix("arrow.")
    if is_a.is_decimal(kind):
        return "decimal" if kind.precision <= 38 else "decimal256"
    if is_a.is_large_string(kind):
        return "string"
    if is_a.is_large_binary(kind) or is_a.is_fixed_size_binary(kind):
        return "binary"
    if is_a.is_timestamp(kind) and kind.tz is not None:
        return f"timestamp[{kind.unit}, tz]"
    if is_list(kind):
        return "list" if _is_listed(kind.value_type) else "list of others"
    return str(kind).partition("<")[0]


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists."""
    is_a = pa.types
    return bool(is_a.is_list(kind) or is_a.is_large_list(kind) or is_a.is_fixed_size_list(kind))


def _is_listed(kind: pa.DataType) -> bool:
    """Whether all systems that have lists have those of this type."""
    is_a = pa.types
    is_text = is_a.is_string(kind) or is_a.is_large_string(kind)
    is_number = is_a.is_integer(kind) and not is_a.is_uint64(kind)
    return bool(is_text or is_number or is_a.is_boolean(kind) or is_a.is_floating(kind))


def shapes(
    kind: pa.DataType, system: str, page: dict[str, dict[str, str]], *, within: bool = False
) -> set[str]:
    """Return the types in which a column may come back by the page, without the names of lists' items."""
    if within and pa.types.is_duration(kind):
        return {"int64"}
    found = set()
    for cell in page[row_of(kind)][system].split(" or "):
        text = cell.strip().strip("`")
        if text == "the same" and pa.types.is_nested(kind):
            inner = [
                shapes(kind.field(place).type, system, page, within=True) for place in range(kind.num_fields)
            ]
            names = [kind.field(place).name for place in range(kind.num_fields)]
            found |= {_shape(kind, names, list(parts)) for parts in product(*inner)}
        elif text == "list":
            found |= {f"list<{item}>" for item in shapes(kind.value_type, system, page)}
        elif text == "decimal128":
            found.add(f"decimal128({kind.precision}, {kind.scale})")
        else:
            found.add(str(kind) if text == "the same" else text)
    return found


def shape(kind: pa.DataType) -> str:
    """Return a type that came back, in the same form."""
    if not pa.types.is_nested(kind):
        return str(kind)
    fields = [kind.field(place) for place in range(kind.num_fields)]
    return _shape(kind, [field.name for field in fields], [shape(field.type) for field in fields])


def _shape(kind: pa.DataType, names: list[str], inner: list[str]) -> str:
    if pa.types.is_map(kind):
        return f"map<{inner[0]}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{name}: {part}' for name, part in zip(names, inner, strict=True))}>"
    return f"list<{inner[0]}>"


def held(array: pa.Array) -> list[Any]:
    """Return what an array says: times as nanoseconds, numbers as numbers, parts as lists, else text."""
    kind = array.type
    is_a = pa.types
    if is_a.is_timestamp(kind) or is_a.is_time(kind) or is_a.is_duration(kind):
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        return [_scaled(value, _NANOSECONDS[kind.unit]) for value in array.cast(width).to_pylist()]
    if is_a.is_date32(kind):
        return [_scaled(value, _DAY) for value in array.cast(pa.int32()).to_pylist()]
    if is_a.is_boolean(kind):
        return [None if value is None else int(value) for value in array.to_pylist()]
    if is_a.is_integer(kind) or is_a.is_decimal(kind):
        return [None if value is None else Decimal(value) for value in array.to_pylist()]
    if is_a.is_floating(kind):
        return [None if value is None else _float(value) for value in array.to_pylist()]
    if is_a.is_nested(kind):
        return _parts_held(array)
    if is_a.is_binary(kind) or is_a.is_large_binary(kind) or is_a.is_fixed_size_binary(kind):
        return list(array.to_pylist())
    return list(texts(array).to_pylist())


def _parts_held(array: pa.Array) -> list[Any]:
    if pa.types.is_struct(array.type):
        parts = [held(part) for part in array.flatten()]
        rows: list[Any] = [list(row) for row in zip(*parts, strict=True)]
    else:
        if pa.types.is_map(array.type):
            entries = pa.struct([("k", array.type.key_type), ("v", array.type.item_type)])
            array = array.cast(pa.list_(entries))
        items, rows, start = held(pa.compute.list_flatten(array)), [], 0
        for size in pa.compute.list_value_length(array).to_pylist():
            rows.append(items[start : start + (size or 0)])
            start += size or 0
    return [row if here else None for row, here in zip(rows, array.is_valid().to_pylist(), strict=True)]


def _scaled(value: int | None, factor: int) -> int | None:
    return None if value is None else value * factor


def _float(value: float) -> str:
    """Return a float's bits: -0.0 is not 0.0, and NaN is NaN."""
    return "nan" if value != value else struct.pack(">d", value).hex()


def parsed(text: str | None) -> Any:
    """Return parsed JSON, whose numbers are exact."""
    return text if text is None else json.loads(text, parse_float=Decimal, parse_int=Decimal)


def duration(text: str | None) -> int | None:
    """Return the nanoseconds of a duration as ISO 8601, or as `3 days 00:00:01.5`."""
    if text is None:
        return None
    iso = _ISO_DURATION.fullmatch(text)
    if iso:
        sign, days, hours, minutes, minus, seconds, fraction = iso.groups()
        whole = int(seconds or 0) * 10**9 + int((fraction or "").ljust(9, "0"))
        clock = (int(hours or 0) * 3600 + int(minutes or 0) * 60) * 10**9 + (-whole if minus else whole)
        return (-1 if sign else 1) * (int(days or 0) * _DAY + clock)
    found = _CLOCK.fullmatch(text)
    assert found, text
    days, minus, hours, minutes, seconds, fraction = found.groups()
    whole = (int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)) * 10**9
    clock = whole + int((fraction or "").ljust(9, "0"))
    return int(days or 0) * _DAY + (-clock if minus else clock)
