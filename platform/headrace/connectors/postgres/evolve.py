"""Making a table fit for the data that comes: columns added, columns made wider, or a clear no."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import adbc_driver_manager

from headrace.connectors import Rejected, SchemaConflict, SchemaContract
from headrace.connectors.kit.sql.fit import Fit
from headrace.connectors.kit.sql.loads import check_addable, check_alterable, unfit
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.catalog import Column, columns
from headrace.connectors.postgres.connection import execute, fetch
from headrace.connectors.postgres.fit import fit
from headrace.connectors.postgres.landing import Landing
from headrace.connectors.postgres.stage import Stage

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_FEATURE_NOT_SUPPORTED = "0A000"


def find_relation(connection: Connection, schema: str, table: str) -> int | None:
    """Return the table's object id; None when there is none. Raises Rejected when it is no table."""
    rows = fetch(
        connection,
        "SELECT c.oid::int8, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2",
        schema,
        table,
    )
    if rows and rows[0][1] not in ("r", "p"):
        raise Rejected(f"{schema}.{table} is not a table: it cannot be loaded.")
    return int(rows[0][0]) if rows else None


def evolved(
    connection: Connection,
    schema: str,
    table: str,
    stage: Stage,
    contract: SchemaContract,
    *,
    narrows: bool,
) -> list[str]:
    """Alter the target as the staged data needs, and return the expression of each staged column for it.

    Raises SchemaConflict, naming the column, when a value would be lost, and SchemaFrozen when the contract
    forbids what is needed. With `narrows`, a column that holds only nulls takes the type that comes.
    """
    held = {column.name: column for column in columns(connection, schema, table)}
    target = quoted(schema, table)
    expressions = []
    for landing in stage.landings:
        if landing.name in held:
            column = held[landing.name]
            could_narrow = narrows and column.declared == "text" != landing.natural
            if could_narrow and _first_values(connection, target, landing, stage):
                column = _narrowed(connection, target, column, landing)
            expressions.append(_typed(connection, target, column, landing, stage, contract, narrows=narrows))
        else:
            check_addable(contract, landing.name)
            execute(connection, f"ALTER TABLE {target} ADD COLUMN {quoted(landing.name)} {landing.natural}")
            expressions.append(landing.expression)
    return expressions


def _typed(
    connection: Connection,
    target: str,
    held: Column,
    landing: Landing,
    stage: Stage,
    contract: SchemaContract,
    *,
    narrows: bool,
) -> str:
    """Return the expression for a column, which may take the type that comes if it fits no other way."""
    try:
        return _fitted(connection, target, held, landing, stage, contract)
    except SchemaConflict:
        if not narrows or not _first_values(connection, target, landing, stage):
            raise
        return _widened(connection, target, held, landing, _retyping(landing))


def _first_values(connection: Connection, target: str, landing: Landing, stage: Stage) -> bool:
    """Whether a column that has held nothing but nulls gets values now."""
    holds = f"{quoted(landing.name)} IS NOT NULL"
    return _any(connection, stage.sql, holds) and not _any(connection, target, holds)


def _narrowed(connection: Connection, target: str, held: Column, landing: Landing) -> Column:
    """Return the column as it is now: of its own type, where something holds it."""
    execute(connection, "SAVEPOINT headrace_narrowing")
    try:
        _widened(connection, target, held, landing, _retyping(landing))
    except SchemaConflict:
        execute(connection, "ROLLBACK TO SAVEPOINT headrace_narrowing")
        return held
    return replace(held, declared=landing.natural, type="")


def _retyping(landing: Landing) -> Fit:
    return Fit(expression=landing.expression, wider=landing.natural)


def _fitted(
    connection: Connection,
    target: str,
    held: Column,
    landing: Landing,
    stage: Stage,
    contract: SchemaContract,
) -> str:
    if held.computed:
        raise Rejected(f"Column {held.name!r} is computed by PostgreSQL; the output must not bring it.")
    found = fit(held, landing)
    if found is None:
        raise unfit(contract, held.name, held.declared, landing.natural)
    misfits = found.misfit is None or _any(connection, stage.sql, found.misfit)
    if found.wider is None:
        if found.misfit is not None and misfits:
            raise unfit(contract, held.name, held.declared, landing.natural)
        return found.expression
    if not misfits:
        return found.expression
    check_alterable(contract, held.name, held.declared, landing.natural)
    return _widened(connection, target, held, landing, found)


def _widened(connection: Connection, target: str, held: Column, landing: Landing, found: Fit) -> str:
    if found.spoiled is not None and _any(connection, target, found.spoiled):
        raise unfit("evolve", held.name, held.declared, landing.natural)
    name = quoted(held.name)
    # Of a column without values: there are types that no cast leads to but the one of NULL.
    through = name if _any(connection, target, f"{name} IS NOT NULL") else "NULL"
    try:
        execute(
            connection,
            f"ALTER TABLE {target} ALTER COLUMN {name} TYPE {found.wider} USING {through}::{found.wider}",
        )
    except adbc_driver_manager.Error as error:
        if error.sqlstate != _FEATURE_NOT_SUPPORTED:
            raise
        detail = f"cannot become {found.wider}: a view or a rule that uses it holds it at {held.declared}."
        raise SchemaConflict(held.name, detail) from None
    return f"({landing.expression})::{found.wider}"


def _any(connection: Connection, relation: str, condition: str) -> bool:
    query = f"SELECT EXISTS (SELECT FROM {relation} WHERE {condition})"  # noqa: S608 - quoted names
    ((answer,),) = fetch(connection, query)
    return bool(answer)
