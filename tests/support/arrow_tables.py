"""Arrow tables at random, for hypothesis: every type, at its extremes, nested, under odd names."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Kind = tuple[pa.DataType, st.SearchStrategy[Any]]
"""A type, and its values: of times the integers that Arrow stores, of all else what `pa.array` takes."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["", '"', ",", "\r\n", "007", "1", "true", "NaN", "null", "\0", "a/b=c%", "__", " x ", "\\", "\\N",
     "'", "%s",
     "\ufeffa", "\u2028", "\x1a", "\x7f", "e\u0301", "{}", "[1", "0x1", "2024-01-01", "x" * 300]
)  # fmt: skip
_JSON = st.sampled_from(["{}", "[]", "1", '"a"', "null", '{"a": [1.5, null], "b": "\\u00e9"}', "[true]"])
_BITS = {
    8: (pa.int8, pa.uint8),
    16: (pa.int16, pa.uint16),
    32: (pa.int32, pa.uint32),
    64: (pa.int64, pa.uint64),
}
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_YEAR = 366 * 86_400
_NUMBERED = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp, pa.types.is_duration)


def _between(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high) | st.sampled_from([low, high, max(low, min(high, 0))])


def _signed(bits: int) -> st.SearchStrategy[int]:
    return _between(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _instants(unit: str) -> st.SearchStrategy[int]:
    """The whole range, and the years that people have."""
    return _signed(64) | st.integers(-5_000 * _YEAR, 12_000 * _YEAR).map(lambda s: _bounded(s * _UNITS[unit]))


def _bounded(value: int) -> int:
    return max(-(2**63), min(2**63 - 1, value))


def _decimals(make: Callable[[int, int], pa.DataType], digits: int, scale: int) -> Kind:
    most = 10**digits - 1
    return make(digits, scale), _between(-most, most)


def _integers() -> list[Kind]:
    signed: list[Kind] = [(make(), _signed(bits)) for bits, (make, _) in _BITS.items()]
    return signed + [(make(), _between(0, 2**bits - 1)) for bits, (_, make) in _BITS.items()]


def _times() -> list[Kind]:
    day = 86_400
    return [
        (pa.date32(), _signed(32) | st.integers(-1_000_000, 4_000_000)),
        (pa.date64(), st.integers(-(10**8), 10**8).map(lambda days: days * day * 1000)),
        *((pa.time32(unit), _between(0, day * _UNITS[unit] - 1)) for unit in ("s", "ms")),
        *((pa.time64(unit), _between(0, day * _UNITS[unit] - 1)) for unit in ("us", "ns")),
        *((pa.timestamp(unit), _instants(unit)) for unit in _UNITS),
        *((pa.timestamp(unit, "UTC"), _instants(unit)) for unit in _UNITS),
        (pa.timestamp("us", "America/St_Johns"), _instants("us")),
        (pa.timestamp("ms", "+05:30"), _instants("ms")),
        *((pa.duration(unit), _signed(64) | st.integers(-(10**12), 10**12)) for unit in _UNITS),
    ]


FLAT: list[Kind] = [
    (pa.bool_(), st.booleans()),
    *_integers(),
    (pa.float16(), st.floats(width=16)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats() | st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 2.0**53, 1e16])),
    _decimals(pa.decimal32, 9, 2),
    _decimals(pa.decimal64, 18, 18),
    _decimals(pa.decimal128, 38, 0),
    _decimals(pa.decimal128, 20, 10),
    _decimals(pa.decimal128, 38, 38),
    _decimals(pa.decimal256, 38, 9),
    _decimals(pa.decimal256, 76, 40),
    (pa.string(), TEXT),
    (pa.large_string(), TEXT),
    (pa.string_view(), TEXT),
    (pa.binary(), st.binary(max_size=4)),
    (pa.large_binary(), st.binary(max_size=4)),
    (pa.binary_view(), st.binary(max_size=20)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    *_times(),
    (pa.null(), st.none()),
    (pa.uuid(), st.binary(min_size=16, max_size=16)),
    (pa.bool8(), st.integers(0, 1)),
    (pa.json_(), _JSON),
    (pa.month_day_nano_interval(), st.tuples(_signed(32), _signed(32), _signed(64))),
]
"""Every type without parts, and its values."""


def array_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Make an array of a type of FLAT."""
    if any(test(kind) for test in _NUMBERED):
        return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    if pa.types.is_decimal(kind):
        return _decimal_array(values, kind)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def _decimal_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    size = kind.bit_width // 8
    content = b"".join((value or 0).to_bytes(size, "little", signed=True) for value in values)
    valid = pa.array([value is not None for value in values], pa.bool_())
    whole = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(content)])
    return whole.take(pa.array([n if here.as_py() else None for n, here in enumerate(valid)], pa.int32()))


@st.composite
def arrays(draw: st.DrawFn, rows: int, levels: int = 2) -> pa.Array:
    """Draw an array: flat, of references, of runs, or with parts."""
    shape = draw(st.sampled_from(_SHAPES)) if levels else "flat"
    if shape == "list":
        return draw(_lists(rows, levels))
    if shape == "fixed":
        mask = pa.array([draw(st.booleans()) for _ in range(rows)], pa.bool_())
        return pa.FixedSizeListArray.from_arrays(draw(arrays(rows * 2, levels - 1)), 2, mask=mask)
    if shape == "struct":
        parts = [draw(arrays(rows, levels - 1)) for _ in range(draw(st.integers(1, 2)))]
        mask = pa.array([draw(st.booleans()) for _ in range(rows)], pa.bool_())
        return pa.StructArray.from_arrays(parts, ["a b", "ü"][: len(parts)], mask=mask)
    if shape == "map":
        keys = draw(st.lists(TEXT, min_size=rows, max_size=rows))
        ends = pa.array(range(rows + 1), pa.int32())
        return pa.MapArray.from_arrays(ends, pa.array(keys, pa.string()), draw(arrays(rows, levels - 1)))
    if shape == "twice":
        entries = st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.integers(-3, 3)), max_size=3)
        maps = st.lists(st.none() | entries, min_size=rows, max_size=rows)
        return pa.array(draw(maps), pa.map_(pa.string(), pa.int64()))
    kind, values = draw(st.sampled_from(FLAT))
    array = array_of(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
    if shape == "references" and not (isinstance(kind, pa.BaseExtensionType) or pa.types.is_null(kind)):
        return pa.DictionaryArray.from_arrays(pa.array(range(rows), pa.int8()), array)
    if shape == "runs" and not isinstance(kind, pa.BaseExtensionType) and rows:
        return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, rows + 1), pa.int32()), array)
    return array


_SHAPES = ["flat"] * 9 + ["list", "list", "fixed", "struct", "struct", "map", "twice", "references", "runs"]


@st.composite
def _lists(draw: st.DrawFn, rows: int, levels: int) -> pa.Array:
    sizes = draw(st.lists(st.none() | st.integers(0, 2), min_size=rows, max_size=rows))
    items = draw(arrays(sum(size or 0 for size in sizes), levels - 1))
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + (size or 0))
    mask = pa.array([size is None for size in sizes], pa.bool_())
    layout = draw(st.sampled_from(["list", "list", "large", "view"]))
    if layout == "view":
        lengths = pa.array([size or 0 for size in sizes], pa.int32())
        return pa.ListViewArray.from_arrays(pa.array(ends[:-1], pa.int32()), lengths, items, mask=mask)
    if layout == "large":
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), items, mask=mask)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), items, mask=mask)


NAMES = [
    "select", "order", "group", "rowid", "oid", "_rowid_", "ctid", "xmin", "tableoid",
    "file_row_number", "filename",
    "_headrace_row", "headrace_row", "_headrace_part", "a b", 'a"b', "a'b", "a`b", "a\\b", "a%b", "%s",
    "?1", "$1",
    ":x", "{0}", "a.b", "a,b", "a;b", "a\nb", "a\tb", "ünïcode", "名前", "😀", "A", "a", "Ä", "ä", " leading",
    "trailing ", "1a", "_PARTITIONTIME", "_table_x", "__root__", "unnamed", "NULL", "true", "x" * 63,
    "x" * 64,
    "x" * 65, "ü" * 32, "x" * 300, "x" * 301, "x=1", "a/b", "-", "*", "\u202e", "nul\0l",
]  # fmt: skip
"""Names that some system reserves, cuts, compares without case or has another meaning for."""


@st.composite
def tables(draw: st.DrawFn, columns: int = 5, names: bool = True) -> pa.Table:
    """Draw a table whose first column `id` numbers the rows."""
    rows = draw(st.integers(0, 4))
    parts = draw(st.lists(arrays(rows), min_size=1, max_size=columns))
    plain = [f"column {number}" for number in range(len(parts))]
    odd = st.lists(st.sampled_from(NAMES), min_size=len(parts), max_size=len(parts), unique=True)
    chosen = draw(st.just(plain) | odd) if names else plain
    return pa.table([pa.array(range(rows), pa.int64()), *parts], names=["id", *chosen])
