"""Loading a run's output into a PostgreSQL table, in one transaction.

Readers see all of the load or none of it. A table that is replaced and has nothing of its own but columns
and grants is swapped for a new one, which gets the grants; a table that anything hangs on (an index, a view,
a key, a trigger, a policy, a comment), or whose schema is frozen, is emptied and refilled where it is: all of
it stays. A session at REPEATABLE READ whose snapshot is older than a swap finds the new table empty,
as after any ALTER TABLE that rewrites.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.connectors.kit.loading.calendar import Calendar
from headrace.connectors.kit.loading.tables import TableLoad
from headrace.connectors.kit.network.limits import DatabaseLimits
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.kit.sql.names import listed, quoted
from headrace.connectors.postgres.catalog import columns
from headrace.connectors.postgres.connection import bound, commit, execute, fetch, settle
from headrace.connectors.postgres.evolve import evolved, find_relation
from headrace.connectors.postgres.failures import LOCKED
from headrace.connectors.postgres.landing import Landing, checked_name, landings
from headrace.connectors.postgres.loads import PostgresLedger
from headrace.connectors.postgres.stage import ORDINAL, Stage, fill
from headrace.connectors.postgres.swap import can_be_swapped, swap

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

# The server's own bounds for a session whose client is gone, cut off or paused: it would keep the locks.
_SESSION = {
    "idle_in_transaction_session_timeout": "5min",  # longer than a load waits for the platform's records
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "10s",  # since version 14, where the system can tell
}
_BOUNDS = (
    "SELECT set_config(s.name, v.value, true)"
    " FROM json_each_text($1::json) AS v (name, value) JOIN pg_settings s USING (name)"
)
_HOLDERS = """
SELECT DISTINCT a.pid, a.application_name, coalesce(a.usename::text, ''),
    coalesce(a.client_addr::text, 'this host'),
    coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::int
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.relation = to_regclass($1) OR (l.locktype = 'advisory' AND l.objsubid = 1
        AND (l.classid::bigint << 32 | l.objid::bigint)
            IN (hashtextextended($1, 0), hashtextextended($2, 0))))
ORDER BY a.pid LIMIT 3
"""
# From 4714-11-24 BC on; Arrow's last microsecond comes before PostgreSQL's (datatype/timestamp.h).
_CALENDAR = Calendar(
    system="PostgreSQL", days=(-2_440_588, 2_145_031_948), seconds=(-210_866_803_200, 9_224_318_016_000)
)


@dataclass(kw_only=True)
class PostgresLoad(TableLoad):
    """A load into one table, all of it in one transaction."""

    connection: Connection
    schema: str
    limits: DatabaseLimits
    given: list[Landing] = field(init=False)
    relation: int | None = field(init=False, default=None)  # the table's object id
    staged: Stage = field(init=False)
    database: str = field(init=False)
    expressions: list[str] = field(init=False, default_factory=list)  # of the staged columns for the table

    @property
    def sql(self) -> str:
        """The table's name as SQL."""
        return quoted(self.schema, self.table)

    @property
    def ledger(self) -> PostgresLedger:
        """The ledger of the table's schema."""
        return PostgresLedger(connection=self.connection, schema=self.schema)

    def check(self) -> None:
        """Look at names and types."""
        checked_name("schema", self.schema)
        checked_name("table", self.table)
        self.prepare()
        _CALENDAR.check(self.request.output)

    def prepare(self) -> None:
        """Choose each column's type in the stage."""
        self.given = landings(self.request.output.schema)
        self.staged = Stage(landings=self.given, ordinal=bool(self.key))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Settle the session, wait for other loads of the pipeline and of the table, make the schema.

        Closing the session undoes what was not committed.
        """
        connection = self.connection
        with self._holders_named():
            self.ledger.upgrade()
            execute(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            bound(connection, self.limits)
            settle(connection)
            fetch(connection, _BOUNDS, json.dumps(_SESSION | {"application_name": self._name}))
            for name in self._locked:
                execute(connection, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
            if not fetch(connection, "SELECT FROM pg_namespace WHERE nspname = $1", self.schema):
                execute(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(self.schema)}")
            ((self.database,),) = fetch(connection, "SELECT current_database()::text")
            yield

    def find(self) -> bool:
        """Ask the catalog."""
        self.relation = find_relation(self.connection, self.schema, self.table)
        return self.relation is not None

    def shape(self) -> dict[str, str]:
        """Ask the catalog."""
        return {column.name: column.declared for column in columns(self.connection, self.schema, self.table)}

    def text_columns(self) -> set[str]:
        """Ask the catalog. `char(n)` is none: it pads."""
        found = columns(self.connection, self.schema, self.table)
        held = {column.name for column in found if column.type in ("text", "varchar")}
        return {item.name for item in self.given if item.name in held and item.natural != "text"}

    def has_values(self, name: str) -> bool:
        """Look for one."""
        query = f"SELECT 1 FROM {self.sql} WHERE {quoted(name)} IS NOT NULL LIMIT 1"  # noqa: S608 - quoted names
        return bool(fetch(self.connection, query))

    def can_make(self) -> bool:
        """Whether nothing but rows, columns and grants hangs on the table; a merge needs its key."""
        if self.relation is None:
            return not self.key
        return can_be_swapped(self.connection, self.relation)

    def make(self) -> None:
        """Swap the table for a new one."""
        given, old = self.given, self.relation
        self.inserted = swap(self.connection, self.schema, self.table, given, self.request, old=old)

    def stage(self) -> None:
        """Send the rows to the session's temporary table."""
        fill(self.connection, self.staged, self.request)

    def fit(self) -> None:
        """Create or alter the table."""
        if self.relation is None:
            self._create()
        contract, narrows = self.request.schema_contract, self.narrows
        self.expressions = evolved(
            self.connection, self.schema, self.table, self.staged, contract, narrows=narrows
        )

    def empty(self) -> None:
        """Delete the rows where they are: what hangs on the table stays."""
        self.deleted = execute(self.connection, f"DELETE FROM {self.sql}")  # noqa: S608 - quoted names

    def append(self) -> None:
        """Insert what is staged."""
        query = f"{self._insert()} SELECT {', '.join(self.expressions)} FROM {self.staged.sql}"  # noqa: S608
        self.inserted = execute(self.connection, query)

    def merge(self) -> None:
        """Insert what is staged, or update where the key is known."""
        self._ensure_unique()
        values = ", ".join(self.expressions)
        same = ", ".join(
            self.expressions[index] for index, item in enumerate(self.given) if item.name in self.key
        )
        merge = (
            f"{self._insert()} SELECT DISTINCT ON ({same}) {values} FROM {self.staged.sql}"  # noqa: S608
            f" ORDER BY {same}, {quoted(ORDINAL)} DESC"
            f" ON CONFLICT ({listed(self.key)}) DO {_update(self.given, self.key)}"
        )
        # Only a row that was there before has been locked by this transaction for its update.
        ((self.inserted, self.updated),) = fetch(
            self.connection,
            f"WITH merged AS ({merge} RETURNING xmax::text = '0' AS fresh)"  # noqa: S608 - quoted names
            " SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM merged",
        )

    def commit(self) -> None:
        """Commit rows, table and note as one."""
        commit(self.connection)

    def location(self) -> str:
        """Name the database, schema and table."""
        return f"postgres: {self.database}.{self.schema}.{self.table}"

    @property
    def _locked(self) -> tuple[str, str]:
        """What is locked: always the pipeline before the table, so no two loads wait for each other."""
        return f"{self.ledger.name()} {self.request.pipeline_id}", self.sql

    @property
    def _name(self) -> str:
        """The session's name, by which others know whose locks it holds; the server keeps 63 bytes."""
        return f"headrace run {self.request.load_id} fence {self.request.fence}"

    @contextmanager
    def _holders_named(self) -> Iterator[None]:
        """Say who holds a lock that was waited for in vain. Raises Busy."""
        import adbc_driver_manager

        try:
            yield
        except adbc_driver_manager.Error as error:
            if error.sqlstate != LOCKED:
                raise
            self.connection.rollback()
            pipeline, table = self._locked
            told = [
                f"{name or 'a session'} (process {pid}, user {user}, from {place}, for {age} s)"
                for pid, name, user, place, age in fetch(self.connection, _HOLDERS, table, pipeline)
            ]
            holder = "; ".join(told) or "a session that has ended since"
            seconds = self.limits.lock_timeout
            detail = f"PostgreSQL: a lock for {self.table!r} was waited for {seconds:g} s, held by"
            raise Busy(f"{detail} {holder}.", context={"sqlstate": LOCKED}) from None

    def _insert(self) -> str:
        return f"INSERT INTO {self.sql} ({listed([item.name for item in self.given])})"

    def _create(self) -> None:
        parts = [f"{quoted(item.name)} {item.natural}" for item in self.given]
        if self.key:
            parts.append(f"PRIMARY KEY ({listed(self.key)})")
        execute(self.connection, f"CREATE TABLE {self.sql} ({', '.join(parts)})")

    def _ensure_unique(self) -> None:
        """Give the table the unique index that merging needs, unless it has one of just these columns."""
        rows = fetch(
            self.connection,
            "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a"
            " WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey::int2[]))"
            " FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid"
            " AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indnkeyatts = i.indnatts",
            self.sql,
        )
        if not any(set(found) == set(self.key) for (found,) in rows):
            execute(self.connection, f"CREATE UNIQUE INDEX ON {self.sql} ({listed(self.key)})")


def _update(given: list[Landing], key: tuple[str, ...]) -> str:
    changes = [f"{name} = excluded.{name}" for name in (quoted(i.name) for i in given if i.name not in key)]
    return f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
