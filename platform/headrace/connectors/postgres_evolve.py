"""Making a table fit for the data that comes: columns added, columns made wider, or a clear no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.connectors.base import Rejected
from headrace.connectors.postgres_catalog import Column, columns
from headrace.connectors.postgres_connection import execute, fetch
from headrace.connectors.postgres_fit import Fit, fit
from headrace.connectors.postgres_landing import Landing
from headrace.connectors.postgres_stage import Stage
from headrace.connectors.sql_names import quoted

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


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


def evolved(connection: Connection, schema: str, table: str, stage: Stage) -> list[str]:
    """Alter the target as the staged data needs, and return the expression of each staged column for it.

    Raises Rejected, naming the column, when a value would be lost.
    """
    held = {column.name: column for column in columns(connection, schema, table)}
    target = quoted(schema, table)
    expressions = []
    for landing in stage.landings:
        if landing.name in held:
            expressions.append(_fitted(connection, target, held[landing.name], landing, stage))
        else:
            execute(connection, f"ALTER TABLE {target} ADD COLUMN {quoted(landing.name)} {landing.natural}")
            expressions.append(landing.expression)
    return expressions


def _fitted(connection: Connection, target: str, held: Column, landing: Landing, stage: Stage) -> str:
    if held.computed:
        raise Rejected(f"Column {held.name!r} is computed by PostgreSQL; the output must not bring it.")
    found = fit(held, landing)
    if found is None:
        raise _misfit(held, landing)
    misfits = found.misfit is None or _any(connection, stage.sql, found.misfit)
    if found.wider is None:
        if found.misfit is not None and misfits:
            raise _misfit(held, landing)
        return found.expression
    if not misfits:
        return found.expression
    return _widened(connection, target, held, landing, found)


def _widened(connection: Connection, target: str, held: Column, landing: Landing, found: Fit) -> str:
    if found.spoiled is not None and _any(connection, target, found.spoiled):
        raise _misfit(held, landing)
    name = quoted(held.name)
    execute(
        connection, f"ALTER TABLE {target} ALTER COLUMN {name} TYPE {found.wider} USING {name}::{found.wider}"
    )
    return f"({landing.expression})::{found.wider}"


def _any(connection: Connection, relation: str, condition: str) -> bool:
    query = f"SELECT EXISTS (SELECT FROM {relation} WHERE {condition})"  # noqa: S608 - quoted names
    ((answer,),) = fetch(connection, query)
    return bool(answer)


def _misfit(held: Column, landing: Landing) -> Rejected:
    return Rejected(
        f"Column {held.name!r} is {held.declared}, and the data, {landing.natural}, does not fit it exactly.",
        context={"column": held.name},
    )
