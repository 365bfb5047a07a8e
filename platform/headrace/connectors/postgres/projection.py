"""Which SQL expression reads a PostgreSQL column without losing a value, and as which Arrow type.

Some values have no place in the Arrow type that the rest of their column has: infinite dates and timestamps,
timestamps after the year 294246, the time 24:00, and NaN in a numeric. They become null, and `special` finds
their rows, to be counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS, TYPE_KEY
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.catalog import Column

if TYPE_CHECKING:
    import pyarrow as pa

_NATIVE = {
    "bool": "bool_", "int2": "int16", "int4": "int32", "int8": "int64", "float4": "float32",
    "float8": "float64", "text": "string", "varchar": "string", "bpchar": "string", "bytea": "binary",
}  # fmt: skip
_TEMPORAL = frozenset({"date", "time", "timestamp", "timestamptz"})
# The last microsecond that 64 bits count from 1970; PostgreSQL counts from 2000, and 30 years further.
_LATEST = "294247-01-10 04:00:54.775807+00"
_LISTED = frozenset({"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar"})
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


@dataclass(frozen=True, kw_only=True)
class Projected:
    """How one column is read."""

    expression: str
    field: pa.Field  # what the batches promise
    special: str | None = None  # a condition: the row holds a value here that becomes null


def projected(column: Column, *, nested: bool, unbounded: str) -> Projected:
    """Choose how to read a column.

    `nested` says that a value of this array column has more than one dimension, which Arrow's lists of
    PostgreSQL's driver flatten; `unbounded` is "text" or "decimal(p,s)", for numerics without a precision.
    """
    import pyarrow as pa

    name = quoted(column.name)
    if column.type in _NATIVE:
        return Projected(expression=name, field=pa.field(column.name, getattr(pa, _NATIVE[column.type])()))
    if column.type in _TEMPORAL:
        return _temporal(column, name)
    if column.type == "numeric":
        return _numeric(column, name, unbounded)
    if column.type == "oid":
        return Projected(expression=f"{name}::int8", field=pa.field(column.name, pa.int64()))
    if column.element in _LISTED and not nested:
        item = getattr(pa, _NATIVE[column.element])()
        return Projected(expression=name, field=pa.field(column.name, pa.list_(item)))
    metadata = {TYPE_KEY: column.declared.encode()}
    return Projected(
        expression=_text(column, name), field=pa.field(column.name, pa.string(), metadata=metadata)
    )


def numeric_type(typmod: int) -> tuple[int, int] | None:
    """Return a numeric's precision and scale from its typmod; None when it has none.

    The typmod, less 4, holds the precision above bit 16 and the scale in the low 11 bits, in two's
    complement (src/backend/utils/adt/numeric.c).
    """
    if typmod < 4:
        return None
    packed = typmod - 4
    return packed >> 16, ((packed & 0x7FF) ^ 0x400) - 0x400


def _temporal(column: Column, name: str) -> Projected:
    import pyarrow as pa

    if column.type == "time":
        finite = f"{name} < '24:00'"
    elif column.type == "date":
        finite = f"isfinite({name})"
    else:
        finite = f"{name} > '-infinity' AND {name} <= '{_LATEST}'"
    types = {
        "date": pa.date32(), "time": pa.time64("us"), "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
    }  # fmt: skip
    return Projected(
        expression=f"CASE WHEN {finite} THEN {name} END",
        field=pa.field(column.name, types[column.type]),
        special=f"NOT ({finite})",
    )


def _numeric(column: Column, name: str, unbounded: str) -> Projected:
    import pyarrow as pa

    size = numeric_type(column.typmod)
    declared = _DECIMAL.fullmatch(unbounded)
    if size is None and declared is not None:
        size = int(declared[1]), int(declared[2])
    if size is None or not 0 <= size[1] <= size[0] <= DECIMAL_DIGITS:
        metadata = {TYPE_KEY: column.declared.encode()}
        return Projected(
            expression=f"{name}::text", field=pa.field(column.name, pa.string(), metadata=metadata)
        )
    special = f"{name} = 'NaN'"
    if column.typmod < 0:  # with a precision, a numeric cannot be infinite
        special = f"{name} IN ('NaN', 'Infinity', '-Infinity')"
    # As text: the driver makes text of a numeric itself, and takes longer than the server.
    return Projected(
        expression=f"CASE WHEN NOT ({special}) THEN {name}::text END",
        field=pa.field(column.name, pa.decimal128(*size)),
        special=special,
    )


def _text(column: Column, name: str) -> str:
    """Casts to text, but for types whose own text says less than they hold."""
    if column.type == "money":
        return f"{name}::numeric::text"  # as money it is written in the server's locale
    return f"{name}::text"
