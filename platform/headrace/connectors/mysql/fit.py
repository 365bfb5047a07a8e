"""Whether a column's data fits a column that exists already: as it is, after a check, or once it is wider.

MySQL rounds what it stores in a number, and cuts fractions of a second, without an error even in strict mode:
so what goes into a column of another type goes there by a rule of this module only.
"""

from __future__ import annotations

import re

from headrace.connectors.kit.sql.fit import Fit
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.mysql.catalog import Column
from headrace.connectors.mysql.landing import Landing

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_EXACT = {"float": 2**24, "double": 2**53}  # up to which a float holds every integer
_TEXT_BYTES = {"tinytext": 2**8, "text": 2**16, "mediumtext": 2**24, "longtext": 2**32}
_BLOB_BYTES = {"tinyblob": 2**8, "blob": 2**16, "mediumblob": 2**24, "longblob": 2**32}
_SIZED = re.compile(r"decimal\((\d+),(\d+)\)")
_MOMENTS = ("date", "datetime", "timestamp")
# Written exactly as text. A FLOAT is not: the server writes six digits of it.
_WRITTEN = frozenset({*_BITS, "decimal", "double", *_MOMENTS, "time", "year"})
_MOST_DIGITS, _MOST_SCALE = 65, 30


def fit(target: Column, landing: Landing, collation: str) -> Fit | None:
    """Return how the data gets into the column without losing a value; None when it cannot."""
    value = f"s.{quoted(landing.name)}"
    given = landing.natural.partition("(")[0].partition(" ")[0]
    if landing.empty:
        return Fit(expression=value, misfit=f"{value} IS NOT NULL")
    if given in _BITS and target.type in _BITS:
        return _integer(target, landing, value)
    if given in (*_BITS, "decimal") and target.type in (*_BITS, "decimal"):
        return _decimal(target, landing, value)
    if given in _BITS and target.type in _EXACT:
        return Fit(expression=value, misfit=f"ABS({value}) > {_EXACT[target.type]}")
    if given in _EXACT and target.type in (*_BITS, *_EXACT):
        return _float(target, given, value)
    if given in ("date", "datetime") and target.type in _MOMENTS:
        return _moment(target, given, value)
    if given == "time" and target.type == "time":
        return _fraction(target, value, "time(6)")
    if given == "longblob":
        return _blob(target, value)
    if given == "longtext":
        return _text(target, value, collation)
    if given in _WRITTEN and target.type in ("varchar", *_TEXT_BYTES):
        return _sized_text(target, f"CAST({value} AS CHAR)", collation)
    return None


def _integer(target: Column, landing: Landing, value: str) -> Fit:
    held, given = _range(target.declared), _range(landing.natural)
    low, high = min(held[0], given[0]), max(held[1], given[1])
    if (low, high) == held:
        return Fit(expression=value)
    types = [f"{name}{sign}" for name in _BITS for sign in ("", " unsigned")]
    wide = [name for name in types if _range(name)[0] <= low and _range(name)[1] >= high]
    misfit = f"{value} NOT BETWEEN {held[0]} AND {held[1]}"
    return Fit(expression=value, misfit=misfit, wider=wide[0] if wide else "decimal(20,0)")


def _range(declared: str) -> tuple[int, int]:
    bits = _BITS[declared.partition("(")[0].partition(" ")[0]]
    return (0, 2**bits - 1) if "unsigned" in declared else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _decimal(target: Column, landing: Landing, value: str) -> Fit | None:
    if target.type == "decimal" and target.unsigned:
        return None
    holds, comes = _digits(f"decimal({target.precision},{target.scale})"), _digits(landing.natural)
    if target.type != "decimal":
        holds = _digits(target.declared)
    whole, scale = max(holds[0], comes[0]), max(holds[1], comes[1])
    if target.type == "decimal" and (whole, scale) == holds:
        return Fit(expression=value)
    if whole + scale > _MOST_DIGITS or scale > _MOST_SCALE:
        return None
    return Fit(expression=value, wider=f"decimal({whole + scale},{scale})")


def _digits(declared: str) -> tuple[int, int]:
    """Return the digits before and after the point."""
    sized = _SIZED.fullmatch(declared)
    if sized:
        return int(sized[1]) - int(sized[2]), int(sized[2])
    return len(str(_range(declared)[1])), 0


def _float(target: Column, given: str, value: str) -> Fit:
    if target.type == "double" or target.type == given:
        return Fit(expression=value)
    if target.type == "float":
        return Fit(expression=value, wider="double")
    spoiled = f"ABS(CAST({quoted(target.name)} AS DECIMAL(20,0))) > {_EXACT['double']}"
    return Fit(expression=value, wider="double", spoiled=spoiled)


def _moment(target: Column, given: str, value: str) -> Fit | None:
    if given == "date":
        return Fit(expression=value) if target.type in ("date", "datetime") else None
    if target.type == "date":
        return Fit(expression=value, wider="datetime(6)")
    if target.type == "timestamp":
        cut = _cut(target, value)
        outside = f"{value} NOT BETWEEN '1970-01-01 00:00:01' AND '2038-01-19 03:14:07'"
        return Fit(expression=value, misfit=f"{outside} OR {cut}" if cut else outside)
    return _fraction(target, value, "datetime(6)")


def _fraction(target: Column, value: str, wider: str) -> Fit:
    cut = _cut(target, value)
    return Fit(expression=value, misfit=cut, wider=wider) if cut else Fit(expression=value)


def _cut(target: Column, value: str) -> str | None:
    """Return the condition on which a fraction of a second would be cut."""
    return None if target.fraction == 6 else f"MICROSECOND({value}) % {10 ** (6 - target.fraction)} <> 0"


def _blob(target: Column, value: str) -> Fit | None:
    if target.type in _BLOB_BYTES:
        size = _BLOB_BYTES[target.type] - 1
    elif target.type == "varbinary":
        size = target.length
    else:
        return None
    return Fit(expression=value, misfit=f"OCTET_LENGTH({value}) > {size}", wider="longblob")


def _text(target: Column, value: str, collation: str) -> Fit | None:
    if target.type in ("varchar", *_TEXT_BYTES):
        return _sized_text(target, value, collation)
    if target.type == "char":  # which loses the blanks at the end
        return Fit(expression=value, misfit=f"CHAR_LENGTH({value}) > {target.length} OR {value} LIKE '% '")
    if target.type == "enum":
        labels = target.declared[len("enum") :]
        return Fit(expression=value, misfit=f"CAST({value} AS BINARY) NOT IN {labels}")
    if target.type == "json":
        return Fit(expression=value, misfit=f"NOT JSON_VALID({value})")
    if target.type in _WRITTEN:
        wider = f"longtext CHARACTER SET utf8mb4 COLLATE {collation}"
        return Fit(expression=value, misfit=f"{value} IS NOT NULL", wider=wider)
    return None


def _sized_text(target: Column, value: str, collation: str) -> Fit:
    kept = target.collation if target.charset == "utf8mb4" else collation
    wider = f"longtext CHARACTER SET utf8mb4 COLLATE {kept}"
    if target.type == "varchar":
        long = f"CHAR_LENGTH({value}) > {target.length}"
    else:
        long = f"OCTET_LENGTH({value}) >= {_TEXT_BYTES[target.type]}"
    if target.charset == "utf8mb4":
        return Fit(expression=value, misfit=long, wider=wider)
    there_and_back = f"CONVERT(CONVERT({value} USING {target.charset}) USING utf8mb4)"
    lost = f"CAST({there_and_back} AS BINARY) <> CAST({value} AS BINARY)"
    return Fit(expression=value, misfit=f"{long} OR {lost}", wider=wider)
