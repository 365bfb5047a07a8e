"""Which SQL expression reads a MySQL column without losing a value, and as which Arrow type.

Dates that do not exist, such as 0000-00-00 and 2024-02-31, become null, and `special` finds their rows, to be
counted. A TIME is text: it goes to 838 hours, and below zero. A FLOAT is read as a double and narrowed, since
the server writes six digits of it. A geometry is its well-known binary, without the reference system's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS, TYPE_KEY
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.mysql.catalog import Column

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_GEOMETRIES = frozenset(
    {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
     "geometrycollection", "geomcollection"}
)  # fmt: skip
_RESTORED = {"json": b"json", "uuid": b"uuid"}  # what PostgreSQL and DuckDB have types for


@dataclass(frozen=True, kw_only=True)
class Projected:
    """How one column is read: the text that the server sends is cast to the field's type by way of `via`."""

    expression: str
    field: pa.Field
    via: pa.DataType | None = None
    special: str | None = None  # a condition: the row holds a value here that becomes null


def projected(column: Column) -> Projected:
    """Choose how to read a column."""
    import pyarrow as pa

    name = quoted(column.name)
    if column.type in _INTEGERS:
        sign = "u" if column.unsigned else ""
        kind = getattr(pa, f"{sign}int{_INTEGERS[column.type]}")()
        return Projected(expression=name, field=pa.field(column.name, kind))
    if column.type == "year":
        return Projected(expression=name, field=pa.field(column.name, pa.int16()))
    if column.type == "bit":
        kind = pa.bool_() if column.precision == 1 else pa.uint64()
        return Projected(expression=f"({name} + 0)", field=pa.field(column.name, kind), via=pa.uint64())
    if column.type in ("float", "double"):
        kind = pa.float32() if column.type == "float" else pa.float64()
        return Projected(expression=f"({name} * 1e0)", field=pa.field(column.name, kind), via=pa.float64())
    if column.type == "decimal" and column.precision <= DECIMAL_DIGITS:
        kind = pa.decimal128(column.precision, column.scale)
        return Projected(expression=name, field=pa.field(column.name, kind))
    if column.type in ("date", "datetime", "timestamp"):
        return _moment(column, name)
    if column.type in _BYTES:
        return Projected(expression=name, field=pa.field(column.name, pa.binary()))
    if column.type in _GEOMETRIES:
        return Projected(expression=f"ST_AsBinary({name})", field=pa.field(column.name, pa.binary()))
    return _text(column, name)


def _moment(column: Column, name: str) -> Projected:
    import pyarrow as pa

    exists = f"DAYOFMONTH({name}) BETWEEN 1 AND DAYOFMONTH(LAST_DAY({name}))"
    kinds = {"date": pa.date32(), "datetime": pa.timestamp("us"), "timestamp": pa.timestamp("us", "UTC")}
    return Projected(
        expression=f"CASE WHEN {exists} THEN {name} END",
        field=pa.field(column.name, kinds[column.type]),
        via=None if column.type == "date" else pa.timestamp("us"),
        special=f"({name} IS NOT NULL AND ({exists}) IS NOT TRUE)",
    )


def _text(column: Column, name: str) -> Projected:
    import pyarrow as pa

    plain = column.type in _TEXTS or column.type == "json"
    restored = _RESTORED.get(column.type)
    metadata = {TYPE_KEY: restored} if restored else None
    return Projected(
        expression=name if plain else f"CAST({name} AS CHAR)",
        field=pa.field(column.name, pa.string(), metadata=metadata),
    )
