"""Making a DuckDB table fit for the data that comes: columns added, columns made wider, or a clear no."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.connectors import SchemaConflict, SchemaContract
from headrace.connectors.kit.sql.loads import check_addable, check_alterable, unfit
from headrace.connectors.kit.sql.names import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STAGE = "temp.headrace_stage"
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
            "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip
_FLOATS = ("FLOAT", "DOUBLE")
_INTEGER_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_MOST_DIGITS = 38
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_TIMES = ("TIME", "TIME_NS")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
# What is written exactly as text: the column becomes text where text comes, since parsing would guess.
_WRITTEN = (*_NUMBERS, *_MOMENTS, *_ZONED, *_TIMES, "BOOLEAN")


def evolved(
    connection: DuckDBPyConnection,
    target: str,
    held: dict[str, str],
    contract: SchemaContract,
    *,
    narrows: bool,
) -> dict[str, str]:
    """Make the target fit for the staged rows, and return each column's expression for it.

    With `narrows`, a column that holds only nulls takes the type that comes.
    """
    known = {name.lower(): declared for name, declared in held.items()}
    values = {}
    for name, declared, *_ in connection.execute(f"DESCRIBE {STAGE}").fetchall():
        kept = known.get(name.lower())
        if kept is None:
            check_addable(contract, name)
            connection.execute(f"ALTER TABLE {target} ADD COLUMN {quoted(name)} {declared}")
            kept = declared
        else:
            narrows_it = narrows and kept == "VARCHAR" and kept != declared
            if narrows_it and _first_values(connection, target, name):
                kept = _narrowed(connection, target, name, kept, declared)
            kept = _fitted(connection, target, name, kept, declared, contract, narrows=narrows)
        values[name] = f"CAST(s.{quoted(name)} AS {kept})"
    return values


def _fitted(
    connection: DuckDBPyConnection,
    target: str,
    name: str,
    held: str,
    given: str,
    contract: SchemaContract,
    *,
    narrows: bool,
) -> str:
    """Return the type that the column has for this data, widened if need be. Raises SchemaConflict."""
    column = quoted(name)
    if held == given or held == "VARCHAR" or not exists(connection, STAGE, f"{column} IS NOT NULL"):
        return held
    if given == "VARCHAR" and held.partition("(")[0] in _WRITTEN:
        return _altered(connection, target, name, held, given, contract)
    if _related(held, given):
        if _survives(connection, STAGE, column, given, held):
            return held
        for wider in _wider(held, given):
            if _survives(connection, target, column, held, wider):
                return _altered(connection, target, name, held, wider, contract)
    if narrows and _first_values(connection, target, name):
        return _altered(connection, target, name, held, given, contract)
    raise unfit(contract, name, held, given)


def _wider(held: str, given: str) -> list[str]:
    """Return the types that hold all that comes, and may hold what is there."""
    if given == "VARCHAR" or (held in _FLOATS and given not in _FLOATS):
        return []
    first, second = _digits(held), _digits(given)
    if first is None or second is None:
        return [given]
    whole, scale = max(first[0], second[0]), max(first[1], second[1])
    return [given, f"DECIMAL({whole + scale},{scale})"] if whole + scale <= _MOST_DIGITS else [given]


def _digits(declared: str) -> tuple[int, int] | None:
    """Return the digits before and after the point; None for other types than exact numbers."""
    sized = _DECIMAL.fullmatch(declared)
    if sized:
        return int(sized[1]) - int(sized[2]), int(sized[2])
    whole = _INTEGER_DIGITS.get(declared.removeprefix("U"))
    return None if whole is None else (whole + declared.startswith("U"), 0)


def _first_values(connection: DuckDBPyConnection, target: str, name: str) -> bool:
    """Whether a column that has held nothing but nulls gets values now."""
    holds = f"{quoted(name)} IS NOT NULL"
    return exists(connection, STAGE, holds) and not exists(connection, target, holds)


def _narrowed(connection: DuckDBPyConnection, target: str, name: str, held: str, given: str) -> str:
    """Return the type that the column has now: its own, where something holds it."""
    try:
        return _altered(connection, target, name, held, given, "evolve")
    except SchemaConflict:
        return held


def _altered(
    connection: DuckDBPyConnection, target: str, name: str, held: str, wider: str, contract: SchemaContract
) -> str:
    import duckdb

    check_alterable(contract, name, held, wider)
    empty = not exists(connection, target, f"{quoted(name)} IS NOT NULL")
    using = f" USING CAST(NULL AS {wider})" if empty else ""  # for some types there is no cast
    try:
        connection.execute(f"ALTER TABLE {target} ALTER COLUMN {quoted(name)} TYPE {wider}{using}")
    except (duckdb.CatalogException, duckdb.DependencyException):
        detail = f"cannot become {wider}: an index of the table holds it at {held}."
        raise SchemaConflict(name, detail) from None
    return wider


def _related(held: str, given: str) -> bool:
    """Whether values of the one type mean the same as values of the other, where they can be written so."""
    first, second = held.partition("(")[0], given.partition("(")[0]
    if given.endswith("]") or held.endswith("]"):
        return given.endswith("]") and held.endswith("]")
    families = (_NUMBERS, _MOMENTS, _ZONED, _TIMES, ("STRUCT",), ("MAP",))
    if any(first in family and second in family for family in families):
        return True
    return second == "VARCHAR" and first in ("UUID", "JSON", "ENUM", "VARCHAR")


def _survives(connection: DuckDBPyConnection, relation: str, column: str, kept: str, through: str) -> bool:
    """Whether every value is the same after a cast and the cast back."""
    back = f"TRY_CAST(TRY_CAST({column} AS {through}) AS {kept})"
    return not exists(connection, relation, f"{back} IS DISTINCT FROM {column}")


def exists(connection: DuckDBPyConnection, relation: str, condition: str) -> bool:
    query = f"SELECT 1 FROM {relation} WHERE {condition} LIMIT 1"  # noqa: S608 - quoted names
    return bool(connection.execute(query).fetchall())
