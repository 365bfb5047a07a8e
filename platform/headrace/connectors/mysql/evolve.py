"""Making a table fit for the data that comes: columns added, columns made wider, or a clear no.

Every ALTER TABLE commits by itself, before the data: one that a kill leaves has added or widened a column,
loses nothing, and is found fit by the next load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql

from headrace.connectors import Rejected, SchemaConflict, SchemaContract
from headrace.connectors.kit.sql.fit import Fit
from headrace.connectors.kit.sql.loads import check_addable, check_alterable, unfit
from headrace.connectors.kit.sql.names import listed, literal, quoted
from headrace.connectors.mysql.catalog import Column, columns
from headrace.connectors.mysql.connection import execute, fetch
from headrace.connectors.mysql.fit import fit
from headrace.connectors.mysql.landing import Landing, declared

if TYPE_CHECKING:
    from pymysql.connections import Connection

# A key's text without a length, a column of a foreign key, one of a generated column or of a partition.
_HELD = {1170, 1071, 1072, 1832, 1833, 1834, 1846, 3106, 3107, 3108, 1901, 1480, 1506}


def evolved(
    connection: Connection,
    table: str,
    stage: str,
    given: list[Landing],
    collation: str,
    contract: SchemaContract,
    *,
    narrows: bool,
) -> list[str]:
    """Alter the table as the staged data (alias `s`) needs, and return each column's expression for it.

    All is looked at before anything is altered. Raises SchemaConflict, naming the column, when a value would
    be lost, and SchemaFrozen when the contract forbids what is needed. With `narrows`, a column that holds
    only nulls takes the type that comes.
    """
    held = {column.name.lower(): column for column in columns(connection, table)}
    changes: dict[str, tuple[str, Column | None]] = {}
    expressions = []
    for landing in given:
        column = held.get(landing.name.lower())
        if column is None:
            check_addable(contract, landing.name)
            addition = f"ADD COLUMN {quoted(landing.name)} {declared(landing, collation)}"
            changes[landing.name] = (addition, None)
            expressions.append(f"s.{quoted(landing.name)}")
            continue
        given_type = declared(landing, collation)
        could_narrow = narrows and column.type == "longtext" and landing.natural != "longtext"
        if could_narrow and not column.filled and _first_values(connection, table, stage, landing):
            changes[landing.name] = (_modification(column, given_type), column)
            expressions.append(f"s.{quoted(landing.name)}")
            continue
        try:
            found, widens = _fitted(connection, table, stage, column, landing, collation, contract)
        except SchemaConflict:
            if not narrows or not _first_values(connection, table, stage, landing):
                raise
            found, widens = Fit(expression=f"s.{quoted(landing.name)}", wider=given_type), True
        if widens:
            changes[landing.name] = (_modification(column, found.wider), column)
        expressions.append(found.expression)
    for name, (change, before) in changes.items():
        _alter(connection, table, name, change, before)
    return expressions


def _fitted(
    connection: Connection,
    table: str,
    stage: str,
    held: Column,
    landing: Landing,
    collation: str,
    contract: SchemaContract,
) -> tuple[Fit, bool]:
    """Return how the data gets into the column, and whether the column has to be widened for it."""
    if held.computed:
        raise Rejected(f"Column {held.name!r} is computed by MySQL; the output must not bring it.")
    found = fit(held, landing, collation)
    if found is None:
        raise unfit(contract, held.name, held.declared, landing.natural)
    misfits = (
        found.wider is not None
        if found.misfit is None
        else _any(connection, f"{quoted(stage)} s", found.misfit)
    )
    if misfits:
        check_alterable(contract, held.name, held.declared, landing.natural)
        spoiled = found.spoiled is not None and _any(connection, quoted(table), found.spoiled)
        if found.wider is None or spoiled:
            raise unfit(contract, held.name, held.declared, landing.natural)
    return found, misfits


def _first_values(connection: Connection, table: str, stage: str, landing: Landing) -> bool:
    """Whether a column that has held nothing but nulls gets values now."""
    holds = f"{quoted(landing.name)} IS NOT NULL"
    return _any(connection, quoted(stage), holds) and not _any(connection, quoted(table), holds)


def _modification(held: Column, wider: str | None) -> str:
    """Return the change of a column's type. It would drop what it does not say again."""
    if held.filled:
        raise SchemaConflict(held.name, f"cannot be widened: it is {held.declared} and fills itself.")
    keeps = "" if held.nullable else " NOT NULL"
    if held.comment:
        keeps += f" COMMENT {literal(held.comment)}"
    return f"MODIFY COLUMN {quoted(held.name)} {wider}{keeps}"


def _alter(connection: Connection, table: str, name: str, change: str, before: Column | None) -> None:
    try:
        execute(connection, f"ALTER TABLE {quoted(table)} {change}")
    except pymysql.Error as error:
        if before is None or error.args[0] not in _HELD:
            raise
        detail = f"cannot be widened: a key or another column holds it at {before.declared}."
        raise SchemaConflict(name, detail) from None


def _any(connection: Connection, relation: str, condition: str) -> bool:
    return bool(fetch(connection, f"SELECT 1 FROM {relation} WHERE {condition} LIMIT 1"))  # noqa: S608


def ensure_unique(connection: Connection, table: str, key: tuple[str, ...]) -> None:
    """Give the table the unique index that merging needs, unless it has one of just these columns."""
    own = f"table_schema = DATABASE() AND table_name = {literal(table)}"
    query = f"SELECT index_name, column_name FROM information_schema.statistics WHERE {own}"  # noqa: S608
    indexes: dict[str, set[str]] = {}
    for index, column in fetch(connection, f"{query} AND non_unique = 0"):
        indexes.setdefault(index, set()).add(str(column).lower())
    if {name.lower() for name in key} not in indexes.values():
        execute(connection, f"ALTER TABLE {quoted(table)} ADD UNIQUE INDEX ({listed(key)})")
