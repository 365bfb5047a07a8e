"""Arrow columns in the order of a cursor's values (`contract.order`), whole columns at a time."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from headrace.connectors.contract.order import SECOND, Kind, NoPlace, place

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = {"s": SECOND, "ms": SECOND // 1000, "us": SECOND // 1_000_000, "ns": 1}
_DAY = 86_400 * SECOND
_ZONE = r"([Zz]|[+-]\d\d(:?\d\d)?)$"
_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?)?$"
_DIGITS = r"^[+-]?\d{1,18}$"


class Misplaced(NoPlace):
    """A column holds a value that has no place in the order; `index` is its row, None: none of them has."""

    def __init__(self, index: int | None = None) -> None:
        super().__init__()
        self.index = index


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of a plain type: decoded, and text as `string`."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        import pyarrow.compute as pc

        return plain(pc.run_end_decode(column))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def kind_of_type(kind: pa.DataType) -> Kind | None:
    """Return the kind of a type whose values need no look; None for text. Raises Misplaced."""
    import pyarrow as pa

    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "time"
    if types.is_string(kind) or types.is_null(kind):
        return None
    raise Misplaced


def places(column: pa.Array, kind: Kind) -> pa.Array:
    """Return what the values of a `plain` column are ordered by; null where a value has no place.

    Numbers and times keep their own types; `value_of` makes them comparable. Raises Misplaced.
    """
    import pyarrow as pa

    if pa.types.is_null(column.type):
        return column.cast(pa.string())
    own = kind_of_type(column.type)
    if own == kind == "number":
        return _finite(column)
    if own == kind:
        return column.cast(pa.timestamp("ms")) if pa.types.is_date64(column.type) else column
    if own is not None and kind != "text":
        raise Misplaced
    if kind == "text":
        return column.cast(pa.string())
    fast = _numbers(column) if kind == "number" else _times(column) if kind == "time" else None
    return _one_by_one(column, kind) if fast is None else fast


def highest(keys: pa.Array) -> pa.Scalar:
    """Return the highest of what `places` has returned."""
    import pyarrow.compute as pc

    return pc.max(keys)


def value_of(key: pa.Scalar) -> Any:
    """Return what can be compared with the values of other columns of the same kind; None: null."""
    import pyarrow as pa

    if not key.is_valid:
        return None
    if pa.types.is_timestamp(key.type):
        return key.value * _UNITS[key.type.unit]
    if pa.types.is_date32(key.type):
        return key.value * _DAY
    return key.as_py()


def between(keys: pa.Array, low: Any, high: Any = None) -> pa.Array:
    """Return where keys are `low` or higher, and at most `high` if it is given; null where they are null."""
    import pyarrow.compute as pc

    found = _compared(keys, ">=", low)
    return found if high is None else pc.and_(found, _compared(keys, "<=", high))


def _compared(keys: pa.Array, operator: str, bound: Any) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    types, is_low = pa.types, operator == ">="
    if types.is_timestamp(keys.type) or types.is_date32(keys.type):
        unit = _DAY if types.is_date32(keys.type) else _UNITS[keys.type.unit]
        bound = -(-bound // unit) if is_low else bound // unit
        keys = keys.view(pa.int32() if types.is_date32(keys.type) else pa.int64())
    elif types.is_integer(keys.type):
        bound = math.ceil(bound) if is_low else math.floor(bound)
    compare = pc.greater_equal if is_low else pc.less_equal
    try:
        if not types.is_floating(keys.type) or isinstance(bound, float):
            return compare(keys, pa.scalar(_fitting(bound, keys.type), keys.type))
    except (pa.ArrowInvalid, OverflowError):  # the bound has more digits than the column
        pass
    values = [value_of(key) for key in keys]
    return pa.array(
        [key if key is None else (key >= bound) is is_low or key == bound for key in values], pa.bool_()
    )


def _fitting(bound: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return Decimal(bound)
    return int(bound) if pa.types.is_integer(kind) else bound


def _finite(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return column
    column = column.cast(pa.float64())
    finite = pc.is_finite(column)
    if pc.all(finite).as_py() is not False:
        return column
    return pc.if_else(finite, column, pa.scalar(None, pa.float64()))


def _all(matches: pa.Array) -> bool:
    import pyarrow.compute as pc

    return pc.all(matches).as_py() is not False


def _numbers(column: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _all(pc.match_substring_regex(column, _DIGITS)):
        return None
    return pc.replace_substring_regex(column, r"^\+", "").cast(pa.int64())


def _times(column: pa.Array) -> pa.Array | None:
    """Return ISO 8601 times as instants; None where one has another form, or lies beyond nanoseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _all(pc.match_substring_regex(column, _ISO)):
        return None
    is_date = pc.equal(pc.binary_length(column), 10)
    if pc.any(is_date).as_py():
        column = pc.if_else(is_date, pc.binary_join_element_wise(column, "T00:00:00Z", ""), column)
    has_zone = pc.match_substring_regex(column, _ZONE)
    if not _all(has_zone):
        column = pc.if_else(has_zone, column, pc.binary_join_element_wise(column, "Z", ""))
    try:
        return column.cast(pa.timestamp("ns", "UTC"))
    except pa.ArrowInvalid:
        return None


def _one_by_one(column: pa.Array, kind: Kind) -> pa.Array:
    import pyarrow as pa

    found: list[Any] = []
    for index, value in enumerate(column.to_pylist()):
        try:
            found.append(place(value, kind))
        except NoPlace:
            raise Misplaced(index) from None
    if kind == "uuid":
        return pa.array(found, pa.string())
    if kind == "time":
        return pa.array([None if key is None else Decimal(key) for key in found], pa.decimal128(38, 0))
    exact = [None if key is None else Decimal(key) for key in found]
    try:
        return pa.array(exact)
    except pa.ArrowInvalid:  # more digits than Arrow holds
        raise Misplaced(_longest(exact)) from None


def _longest(values: list[Decimal | None]) -> int:
    sizes = [0 if value is None else len(value.as_tuple().digits) for value in values]
    return sizes.index(max(sizes))
