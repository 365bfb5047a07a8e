"""Loading a run's output into a PostgreSQL table, in one transaction.

Readers see all of the load or none of it. A table that is replaced and has nothing of its own but columns
and grants is swapped for a new one, which gets the grants; a table that anything hangs on (an index, a view,
a key, a trigger, a policy, a comment), or whose schema is frozen, is emptied and refilled where it is: all of
it stays. A session at REPEATABLE READ whose snapshot is older than a swap finds the new table empty,
as after any ALTER TABLE that rewrites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors import LoadRequest, LoadResult
from headrace.connectors.kit.sql.loads import check_key
from headrace.connectors.kit.sql.names import listed, quoted
from headrace.connectors.postgres.connection import execute, fetch
from headrace.connectors.postgres.evolve import evolved, find_relation
from headrace.connectors.postgres.landing import Landing, checked_name, landings
from headrace.connectors.postgres.loads import last_load, record_load
from headrace.connectors.postgres.stage import ORDINAL, Stage, fill
from headrace.connectors.postgres.swap import can_be_swapped, swap

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

_LOCK_TIMEOUT = "60s"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The table to load."""

    schema: str
    table: str

    @property
    def sql(self) -> str:
        """The table's name as SQL."""
        return quoted(self.schema, self.table)


def load(connection: Connection, target: Target, request: LoadRequest) -> LoadResult:
    """Load the output and note it, then commit; a load that was committed before is not done again.

    Whatever raises, `request.before_commit` included, leaves the database as it was.
    """
    checked_name("schema", target.schema)
    checked_name("table", target.table)
    columns_given = landings(request.output.schema)
    ((database,),) = _prepare(connection, target)
    result = LoadResult(
        rows=request.output.rows, location=f"postgres: {database}.{target.schema}.{target.table}"
    )
    last = last_load(connection, target.schema, request.pipeline_id)
    if last is not None and last.load_id == request.load_id:
        request.log.info("This load was committed before; nothing is loaded twice.")
        return result
    _publish(connection, target, columns_given, request)
    record_load(connection, target.schema, target.table, request)
    request.before_commit()
    connection.commit()
    return result


def _prepare(connection: Connection, target: Target) -> list[tuple[str]]:
    """Settle the session, wait for other loads of the table, make the schema; return the database's name."""
    execute(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    execute(connection, "SET LOCAL TimeZone = 'UTC'")
    execute(connection, f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    execute(connection, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", target.sql)
    if not fetch(connection, "SELECT FROM pg_namespace WHERE nspname = $1", target.schema):
        execute(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(target.schema)}")
    return fetch(connection, "SELECT current_database()::text")


def _publish(connection: Connection, target: Target, given: list[Landing], request: LoadRequest) -> None:
    relation = find_relation(connection, target.schema, target.table)
    whole = request.disposition == "replace"
    if relation is None and request.disposition != "merge":
        swap(connection, target.schema, target.table, given, request, old=None)
    elif relation is not None and whole and given and _may_swap(connection, relation, request):
        swap(connection, target.schema, target.table, given, request, old=relation)
    else:
        _load_in_place(connection, target, given, request, exists=relation is not None)


def _may_swap(connection: Connection, relation: int, request: LoadRequest) -> bool:
    return request.schema_contract != "freeze" and can_be_swapped(connection, relation)


def _load_in_place(
    connection: Connection, target: Target, given: list[Landing], request: LoadRequest, *, exists: bool
) -> None:
    """Stage the output, make the table fit for it, and bring it over with one statement."""
    key = request.primary_key if request.disposition == "merge" else ()
    if request.disposition == "merge":
        check_key(key, [item.name for item in given])
    stage = Stage(landings=given, ordinal=bool(key))
    fill(connection, stage, request)
    if not exists:
        _create(connection, target, given, key)
    expressions = evolved(connection, target.schema, target.table, stage, request.schema_contract)
    if request.disposition == "replace":
        execute(connection, f"DELETE FROM {target.sql}")  # noqa: S608 - quoted names
    if not given:
        return
    insert = f"INSERT INTO {target.sql} ({listed([item.name for item in given])})"
    values = ", ".join(expressions)
    if not key:
        execute(connection, f"{insert} SELECT {values} FROM {stage.sql}")  # noqa: S608 - quoted names
        return
    _ensure_unique(connection, target, key)
    same = ", ".join(expressions[index] for index, item in enumerate(given) if item.name in key)
    execute(
        connection,
        f"{insert} SELECT DISTINCT ON ({same}) {values} FROM {stage.sql}"  # noqa: S608 - quoted names
        f" ORDER BY {same}, {quoted(ORDINAL)} DESC ON CONFLICT ({listed(key)}) DO {_update(given, key)}",
    )


def _update(given: list[Landing], key: tuple[str, ...]) -> str:
    changes = [f"{name} = excluded.{name}" for name in (quoted(i.name) for i in given if i.name not in key)]
    return f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"


def _create(connection: Connection, target: Target, given: list[Landing], key: tuple[str, ...]) -> None:
    parts = [f"{quoted(item.name)} {item.natural}" for item in given]
    if key:
        parts.append(f"PRIMARY KEY ({listed(key)})")
    execute(connection, f"CREATE TABLE {target.sql} ({', '.join(parts)})")


def _ensure_unique(connection: Connection, target: Target, key: tuple[str, ...]) -> None:
    """Give the table the unique index that merging needs, unless it has one of just these columns."""
    rows = fetch(
        connection,
        "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a"
        " WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey::int2[]))"
        " FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid"
        " AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts",
        target.sql,
    )
    if not any(set(found) == set(key) for (found,) in rows):
        execute(connection, f"CREATE UNIQUE INDEX ON {target.sql} ({listed(key)})")
