"""How an Arrow column lands in PostgreSQL: the type it is sent as, the type a new column gets, the bytes.

The driver's COPY checks no types: eight bytes of an integer stored where a double is kept become another
number, silently. So data only ever goes into a staging column of exactly the type named here, and SQL casts
it from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import Rejected
from headrace.connectors.kit.arrow.types import DECIMAL_DIGITS, TYPE_KEY
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres import values

if TYPE_CHECKING:
    import pyarrow as pa

# https://www.postgresql.org/docs/current/ddl-system-columns.html
_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})

Conversion = Callable[["pa.Array"], "pa.Array"]

# Types whose text PostgreSQL reads back as what it was; only these are taken from a field's metadata.
_RESTORED = re.compile(
    r"(uuid|jsonb?|numeric|interval|inet|cidr|macaddr8?|money|xml|bit|bit varying|pg_lsn|tsvector|tsquery"
    r"|point|line|lseg|box|path|polygon|circle|(int[48]|num|ts|tstz|date)(multi)?range"
    r"|time|smallint|integer|bigint|real|double precision|boolean|text|bytea|date|character varying|character"
    r"|timestamp)(\(\d+(,-?\d+)?\))?( with(out)? time zone)?(\[\])*"
)


@dataclass(frozen=True, kw_only=True)
class Landing:
    """How one column is sent, and what it is meant to be."""

    name: str
    wire: str  # the staging column's type
    natural: str  # a new column's type, as `format_type` writes it
    convert: Conversion  # makes the array that COPY sends as `wire`
    cast: str = "{}"  # SQL from the staging column to the natural type
    empty: bool = False  # the column knows no type: every value is null

    @property
    def expression(self) -> str:
        """The column's value as its natural type, for a query on the staging table."""
        return self.cast.format(quoted(self.name))


def landing(field: pa.Field) -> Landing:
    """Choose how a field lands; exact for every value, or else `convert` raises Rejected with the column."""
    import pyarrow as pa

    declared = (field.metadata or {}).get(TYPE_KEY, b"").decode()
    data_type = field.type
    if isinstance(data_type, pa.DictionaryType):
        data_type = data_type.value_type
    if pa.types.is_null(data_type):
        return Landing(
            name=field.name, wire="text", natural="text", convert=_cast_to(pa.string()), empty=True
        )
    if _is_text(data_type) and _RESTORED.fullmatch(declared):
        return _restored(field.name, declared)
    if isinstance(data_type, pa.BaseExtensionType):
        return _extension(field.name, data_type)
    wire, sent = _wire(data_type)
    if sent is None:
        return Landing(name=field.name, wire=wire, natural=wire, convert=values.json_wire)
    if pa.types.is_decimal256(data_type):
        natural = f"numeric({data_type.precision},{data_type.scale})"
        cast = "{}::" + natural
        return Landing(name=field.name, wire=wire, natural=natural, convert=_cast_to(sent), cast=cast)
    return Landing(name=field.name, wire=wire, natural=wire, convert=_cast_to(sent))


def _restored(name: str, declared: str) -> Landing:
    import pyarrow as pa

    if declared == "jsonb":
        return Landing(name=name, wire="jsonb", natural="jsonb", convert=values.json_text_wire)
    if declared == "uuid":
        return Landing(name=name, wire="uuid", natural="uuid", convert=values.uuid_wire)
    return Landing(
        name=name, wire="text", natural=declared, convert=_cast_to(pa.string()), cast="{}::" + declared
    )


def _extension(name: str, data_type: pa.BaseExtensionType) -> Landing:
    import pyarrow as pa

    if data_type.extension_name == "arrow.uuid":
        return Landing(name=name, wire="uuid", natural="uuid", convert=values.storage)
    if data_type.extension_name == "arrow.json":
        return Landing(name=name, wire="jsonb", natural="jsonb", convert=values.json_text_wire)
    below = landing(pa.field(name, data_type.storage_type))

    def convert(array: pa.Array) -> pa.Array:
        return below.convert(values.storage(array))

    return Landing(name=name, wire=below.wire, natural=below.natural, convert=convert, cast=below.cast)


def _wire(data_type: pa.DataType) -> tuple[str, pa.DataType | None]:
    """Return the SQL type and the Arrow type that travels as it; None: as JSON."""
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_boolean(data_type):
        return "boolean", pa.bool_()
    if is_a.is_integer(data_type):
        return _integer(data_type)
    if is_a.is_float64(data_type):
        return "double precision", pa.float64()
    if is_a.is_floating(data_type):
        return "real", pa.float32()
    if is_a.is_decimal(data_type):
        return _decimal(data_type)
    if _is_text(data_type):
        return "text", pa.string()
    if is_a.is_binary(data_type) or is_a.is_large_binary(data_type) or is_a.is_binary_view(data_type):
        return "bytea", pa.binary()
    if is_a.is_fixed_size_binary(data_type):
        return "bytea", pa.binary()
    if is_a.is_temporal(data_type):
        return _temporal(data_type)
    return _nested(data_type)


def _integer(data_type: pa.DataType) -> tuple[str, pa.DataType]:
    import pyarrow as pa

    if pa.types.is_uint64(data_type):
        return "numeric(20,0)", pa.decimal128(20, 0)
    signed = pa.types.is_signed_integer(data_type)
    if data_type.bit_width < 16 or (signed and data_type.bit_width == 16):
        return "smallint", pa.int16()
    if data_type.bit_width < 32 or (signed and data_type.bit_width == 32):
        return "integer", pa.int32()
    return "bigint", pa.int64()


def _decimal(data_type: pa.DataType) -> tuple[str, pa.DataType]:
    import pyarrow as pa

    precision, scale = data_type.precision, data_type.scale
    if precision > DECIMAL_DIGITS or not 0 <= scale <= precision:
        return "text", pa.string()
    return f"numeric({precision},{scale})", pa.decimal128(precision, scale)


def _temporal(data_type: pa.DataType) -> tuple[str, pa.DataType | None]:
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_date(data_type):
        return "date", pa.date32()
    if is_a.is_time(data_type):
        return "time without time zone", pa.time64("us")
    if is_a.is_timestamp(data_type) and data_type.tz:
        return "timestamp with time zone", pa.timestamp("us", "UTC")
    if is_a.is_timestamp(data_type):
        return "timestamp without time zone", pa.timestamp("us")
    if is_a.is_duration(data_type):
        return "interval", pa.duration("us")
    return "jsonb", None


def _nested(data_type: pa.DataType) -> tuple[str, pa.DataType | None]:
    """Lists of plain values are arrays; whatever else has parts is JSON."""
    import pyarrow as pa

    is_a = pa.types
    if not (is_a.is_list(data_type) or is_a.is_large_list(data_type) or is_a.is_fixed_size_list(data_type)):
        return "jsonb", None
    item = data_type.value_type
    if not (is_a.is_boolean(item) or is_a.is_integer(item) or is_a.is_floating(item) or _is_text(item)):
        return "jsonb", None
    wire, sent = _wire(item)
    return ("jsonb", None) if is_a.is_uint64(item) else (f"{wire}[]", pa.list_(sent))


def _is_text(data_type: pa.DataType) -> bool:
    import pyarrow as pa

    is_a = pa.types
    return bool(
        is_a.is_string(data_type) or is_a.is_large_string(data_type) or is_a.is_string_view(data_type)
    )


def _cast_to(target: pa.DataType) -> Conversion:
    def convert(array: pa.Array) -> pa.Array:
        return values.exact(array, target)

    return convert


def landings(schema: pa.Schema) -> list[Landing]:
    """Choose how each column of an output lands. Raises Rejected for names that PostgreSQL cannot keep."""
    names = set()
    for name in schema.names:
        checked_name("column", name)
        if name in names:
            raise Rejected(f"Two columns are named {name!r}.")
        names.add(name)
    return [landing(field) for field in schema]


def checked_name(kind: str, name: str) -> str:
    """Return a name that PostgreSQL keeps as it is. Raises Rejected: longer ones would be cut, and meet."""
    if not name or "\0" in name:
        raise Rejected(f"The {kind} name {name!r} is empty or holds a NUL character.")
    length = len(name.encode())
    if length > 63:
        raise Rejected(f"The {kind} name {name!r} has {length} bytes; PostgreSQL keeps 63.")
    if kind == "column" and name in _SYSTEM_COLUMNS:
        raise Rejected(f"The column name {name!r} is that of a system column in each PostgreSQL table.")
    return name
