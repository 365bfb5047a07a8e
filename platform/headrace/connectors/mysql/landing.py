"""How an Arrow column lands in MySQL: the type that a new column gets, and its values as SQL text.

Instants are DATETIME(6) in UTC, since TIMESTAMP ends in 2038; durations are microseconds; nested values, and
decimals of more than 65 digits, are text. Text compares by its bytes, in the columns that are made here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import Rejected
from headrace.connectors.kit.arrow.json_columns import json_texts
from headrace.connectors.kit.arrow.types import is_bytes, is_uuid, stored

if TYPE_CHECKING:
    import pyarrow as pa

_KEY_BYTES = 3000  # of InnoDB's 3,072 for all columns of a key


@dataclass(frozen=True, kw_only=True)
class Landing:
    """How one column is sent, and what it is meant to be."""

    name: str
    natural: str  # as the catalog writes it: "bigint unsigned", "datetime(6)"
    literals: Callable[[pa.Array], pa.Array]  # the values as SQL, null where there is none
    empty: bool = False  # the column knows no type: every value is null
    size: int = 0  # of a key's text or bytes


def landings(schema: pa.Schema, key: tuple[str, ...] = ()) -> list[Landing]:
    """Choose how each column of an output lands; text and bytes of a key get a size that an index takes."""
    return [_landing(field, len(key) if field.name in key else 0) for field in schema]


def declared(landing: Landing, collation: str) -> str:
    """Return the column's type for CREATE TABLE."""
    if landing.natural == "longtext":
        kind = f"varchar({landing.size})" if landing.size else "longtext"
        return f"{kind} CHARACTER SET utf8mb4 COLLATE {collation}"
    if landing.natural == "longblob" and landing.size:
        return f"varbinary({landing.size})"
    return landing.natural


def checked_name(kind: str, name: str) -> str:
    """Return a name that MySQL keeps as it is. Raises Rejected."""
    if not name or "\0" in name or name.endswith(" "):
        raise Rejected(f"The {kind} name {name!r} is empty, ends in a blank or holds a NUL character.")
    if len(name) > 64 or any(ord(character) > 0xFFFF for character in name):
        raise Rejected(f"The {kind} name {name!r} is longer than 64 characters, or has one beyond the BMP.")
    return name


def sql_rows(batch: pa.RecordBatch, given: list[Landing], first: int | None) -> list[str]:
    """Return each row as `(…)` in SQL; with `first`, the row's number comes last.

    Raises Rejected with the column for a value that MySQL cannot hold.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [_texts(array, item) for array, item in zip(batch.columns, given, strict=True)]
    if first is not None:
        texts.append(pa.array(range(first, first + batch.num_rows)).cast(pa.string()))
    joined = pc.binary_join_element_wise(*texts, ",")
    rows = pc.binary_join_element_wise("(", joined, ")", "")
    return list(rows.to_pylist())


def _texts(array: pa.Array, item: Landing) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    from headrace.connectors.kit.arrow.flat_texts import resolved

    array = resolved(array)
    try:
        return pc.fill_null(item.literals(array), "NULL")
    except (pa.ArrowException, ValueError, OverflowError):
        raise Rejected(
            f"Column {item.name!r} holds a value that MySQL's {item.natural} cannot.",
            context={"column": item.name},
        ) from None


def _landing(field: pa.Field, key_columns: int) -> Landing:
    import pyarrow as pa

    is_a = pa.types
    data_type = stored(field.type)
    if is_uuid(data_type):
        return Landing(name=field.name, natural="longtext", literals=_texted, size=36 if key_columns else 0)
    natural, literals = _kind(data_type)
    size = 0
    if key_columns:
        size = _KEY_BYTES // key_columns // (4 if natural == "longtext" else 1)
    return Landing(
        name=field.name, natural=natural, literals=literals, empty=is_a.is_null(data_type), size=size
    )


def _kind(data_type: pa.DataType) -> tuple[str, Callable[[pa.Array], pa.Array]]:
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_boolean(data_type):
        return "tinyint(1)", lambda array: _plain(array.cast(pa.int8()))
    if is_a.is_integer(data_type):
        sign = "" if is_a.is_signed_integer(data_type) else " unsigned"
        names = {8: "tinyint", 16: "smallint", 32: "int", 64: "bigint"}
        return names[data_type.bit_width] + sign, _plain
    if is_a.is_floating(data_type):
        return ("double" if is_a.is_float64(data_type) else "float"), _floats
    if is_a.is_decimal(data_type) and data_type.precision <= 65 and 0 <= data_type.scale <= 30:
        return f"decimal({max(data_type.precision, data_type.scale)},{data_type.scale})", _plain
    if is_bytes(data_type):
        return "longblob", _bytes
    if is_a.is_date(data_type):
        return "date", lambda array: _quoted(array.cast(pa.date32()))
    if is_a.is_time(data_type):
        return "time(6)", lambda array: _quoted(array.cast(pa.time64("us"), safe=False))
    if is_a.is_timestamp(data_type):
        return "datetime(6)", _moments
    if is_a.is_duration(data_type):
        return "bigint", lambda array: _plain(array.cast(pa.duration("us")).cast(pa.int64()))
    if is_a.is_nested(data_type):
        return "longtext", _nested
    is_text = is_a.is_string(data_type) or is_a.is_large_string(data_type) or is_a.is_null(data_type)
    return "longtext", _quoted if is_text else _texted


def _plain(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    from headrace.connectors.kit.arrow.flat_texts import decimals

    if pa.types.is_decimal(array.type):  # Arrow writes small ones with an exponent, which means a double
        return decimals(array)
    return array.cast(pa.string())


def _floats(array: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.is_finite(array)).as_py() is False:
        raise ValueError("NaN or infinity")
    if not pa.types.is_float64(array.type):
        array = array.cast(pa.float32())
    text = array.cast(pa.string())
    # Without an exponent it would be a decimal constant, which has no negative zero.
    return pc.if_else(pc.match_substring(text, "e"), text, pc.binary_join_element_wise(text, "e0", ""))


def _bytes(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    return pa.array(
        [None if value is None else f"X'{value.hex()}'" for value in array.to_pylist()], pa.string()
    )


def _moments(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    unit = pa.timestamp("us")
    plain = array.cast(pa.timestamp("us", array.type.tz), safe=False).cast(unit) if array.type.tz else array
    return _quoted(plain.cast(unit, safe=False))


def _texted(array: pa.Array) -> pa.Array:
    from headrace.connectors.kit.arrow.rendering import texts

    return _quoted(texts(array))


def _nested(array: pa.Array) -> pa.Array:
    return _quoted(json_texts(array))


def _quoted(array: pa.Array) -> pa.Array:
    """Return texts as SQL's constants; NUL characters are kept."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.replace_substring(array.cast(pa.string()), "'", "''")
    return pc.binary_join_element_wise("'", text, "'", "")
