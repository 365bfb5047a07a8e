"""Loading a run's output into a MySQL table by way of a staging table.

New rows are appended or merged, and a table is refilled, in one transaction of InnoDB with the note of the
load. A table that is replaced and has nothing of its own but columns is swapped for the staging table by one
RENAME TABLE, which readers see as one; MySQL puts no DDL into a transaction, so the note follows. What a kill
leaves there:

- before the RENAME: a staging table, which the next load of this table drops;
- between the RENAME and the note: the new rows under the old note, and the old table under another name. The
  run counts as failed; the next one replaces the table again, and drops the old one. No cursor is ahead.

A table that anything hangs on (a key, a trigger, a default, a partition), or whose schema is frozen, is
refilled, so that all of it stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pymysql

from headrace.connectors import Rejected
from headrace.connectors.kit.loading.calendar import Calendar
from headrace.connectors.kit.loading.lost import Lost, finer_than_microseconds
from headrace.connectors.kit.loading.tables import TableLoad
from headrace.connectors.kit.network.limits import DatabaseLimits
from headrace.connectors.kit.sql.loads import Busy, check_columns
from headrace.connectors.kit.sql.names import listed, literal, quoted
from headrace.connectors.mysql.catalog import columns, tables
from headrace.connectors.mysql.connection import commit, execute, fetch
from headrace.connectors.mysql.evolve import ensure_unique, evolved
from headrace.connectors.mysql.landing import Landing, checked_name, declared, landings, sql_rows
from headrace.connectors.mysql.loads import MySQLLedger
from headrace.connectors.mysql.staging import collation_of, is_held, lock_holder, statements
from headrace.failpoints import reach

if TYPE_CHECKING:
    from pymysql.connections import Connection

_ORDINAL = "_headrace_row"  # of two rows with one key, the later one wins
_ROWS = 10_000
_TEXTS = ("varchar", "tinytext", "text", "mediumtext", "longtext")
_IDLE_SECONDS = 300  # longer than a load waits for the platform's records
# The years 1 to 9999: https://dev.mysql.com/doc/refman/8.4/en/datetime.html
_CALENDAR = Calendar(system="MySQL", days=(-719_162, 2_932_896), seconds=(-62_135_596_800, 253_402_300_800))


@dataclass(kw_only=True)
class MySQLLoad(TableLoad):
    """A load into one table of the session's database."""

    connection: Connection
    database: str
    limits: DatabaseLimits
    given: list[Landing] = field(init=False, default_factory=list)
    swaps: bool = field(init=False, default=False)  # the staging table takes the table's place
    values: dict[str, str] = field(init=False, default_factory=dict)  # expressions of staged columns

    @property
    def ledger(self) -> MySQLLedger:
        """The ledger of the database."""
        return MySQLLedger(connection=self.connection)

    def check(self) -> None:
        """Look at names and times."""
        names = self.request.output.schema.names
        for name in (checked_name("table", self.table), *names):
            checked_name("column", name)
        check_columns(names)
        _CALENDAR.check(self.request.output)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other loads of the pipeline and of the table out, and remove what a killed one left.

        The server frees the lock of a session that ends, and drops its temporary tables. An error here drops
        the staging table where the session lives on.
        """
        # The server frees the locks of a session whose client is cut off or paused, after so many seconds.
        execute(self.connection, f"SET SESSION wait_timeout = {_IDLE_SECONDS}")
        self._lock()
        self.ledger.ensure()
        self.prepare()
        execute(self.connection, f"DROP TABLE IF EXISTS {quoted(self.old)}, {quoted(self.staging)}")
        try:
            yield
        except BaseException:
            with suppress(pymysql.Error):
                self.connection.rollback()
                execute(self.connection, f"DROP TABLE IF EXISTS {quoted(self.staging)}")
            raise

    def prepare(self) -> None:
        """Choose each column's type in the stage."""
        self.given = landings(self.request.output.schema, self.key)

    def find(self) -> bool:
        """Ask the catalog."""
        found = tables(self.connection, self.table)
        if found and found[0].is_view:
            raise Rejected(f"{self.table!r} is a view: it cannot be loaded.")
        if found and found[0].engine != "InnoDB":
            raise Rejected(f"{self.table!r} is a table of {found[0].engine}, which has no transactions.")
        return bool(found)

    def shape(self) -> dict[str, str]:
        """Ask the catalog; a staging table that will be swapped in is the table."""
        name = self.staging if self.swaps else self.table
        return {column.name: column.declared for column in columns(self.connection, name)}

    def text_columns(self) -> set[str]:
        """Ask the catalog; names match in any case. `char(n)` is none: it drops spaces at the end."""
        found = columns(self.connection, self.table)
        held = {column.name.lower() for column in found if column.type in _TEXTS}
        return {one.name for one in self.given if one.name.lower() in held and one.natural != "longtext"}

    def has_values(self, name: str) -> bool:
        """Look for one."""
        query = f"SELECT 1 FROM {quoted(self.table)} WHERE {quoted(name)} IS NOT NULL LIMIT 1"  # noqa: S608
        return bool(fetch(self.connection, query))

    def claim(self) -> None:
        """Write the ledger's row: MySQL creates and renames tables outside of transactions."""
        self.ledger.claim(self.table, self.request)
        commit(self.connection)

    def can_make(self) -> bool:
        """Whether nothing but rows and columns would be lost with the table that is there.

        Rows that are added to a table come in the transaction of their note, also to one that is new.
        """
        if self.request.disposition != "replace":
            return False
        return not self.exists or not is_held(self.connection, self.table)

    def make(self) -> None:
        """Fill a staging table; `commit` puts it in the table's place."""
        self.inserted = self._fill(temporary=False)
        self.swaps = True

    def stage(self) -> None:
        """Send the rows to the session's temporary table."""
        self._fill(temporary=True)
        missing = " OR ".join(f"{quoted(name)} IS NULL" for name in self.key)
        query = f"SELECT 1 FROM {quoted(self.staging)} WHERE {missing} LIMIT 1"  # noqa: S608 - quoted names
        if missing and fetch(self.connection, query):
            raise Rejected(f"A row has no value in its primary key ({', '.join(self.key)}).")

    def fit(self) -> None:
        """Create or alter the table. Each statement commits by itself, and loses nothing."""
        collation = collation_of(self.connection)
        if not self.exists:
            self._create(collation)
        expressions = evolved(
            self.connection,
            self.table,
            self.staging,
            self.given,
            collation,
            self.request.schema_contract,
            narrows=self.narrows,
        )
        self.values = dict(zip(self.request.output.schema.names, expressions, strict=True))
        if self.key:
            ensure_unique(self.connection, self.table, self.key)

    def begin(self) -> None:
        """Begin the transaction of rows and note."""
        self.connection.begin()

    def empty(self) -> None:
        """Delete the rows where they are: what hangs on the table stays."""
        self.deleted = execute(self.connection, f"DELETE FROM {quoted(self.table)}")  # noqa: S608

    def append(self) -> None:
        """Insert what is staged."""
        query = f"SELECT {', '.join(self.values.values())} FROM {quoted(self.staging)} s"  # noqa: S608
        insert = f"INSERT INTO {quoted(self.table)} ({listed(list(self.values))}) {query}"
        self.inserted = execute(self.connection, insert)

    def merge(self) -> None:
        """Update the rows of known keys, then insert the others: of each key the last row that came.

        Not by ON DUPLICATE KEY UPDATE, which would take a row of the same value in any other unique key.
        """
        table, key, values = quoted(self.table), self.key, self.values
        place = f"ROW_NUMBER() OVER (PARTITION BY {listed(key)} ORDER BY {quoted(_ORDINAL)} DESC)"
        last = f'(SELECT d.*, {place} AS "_headrace_place" FROM {quoted(self.staging)} d)'  # noqa: S608
        same = " AND ".join(f"t.{quoted(name)} = {values[name]}" for name in key)
        changes = ", ".join(
            f"t.{quoted(name)} = {value}" for name, value in values.items() if name not in key
        )
        if changes:
            matching = f'{same} AND s."_headrace_place" = 1'
            update = f"UPDATE {table} t JOIN {last} s ON {matching} SET {changes}"  # noqa: S608 - quoted names
            self.updated = execute(self.connection, update)
        self.inserted = execute(
            self.connection,
            f"INSERT INTO {table} ({listed(list(values))}) SELECT {', '.join(values.values())}"  # noqa: S608
            f" FROM {last} s LEFT JOIN {table} t ON {same}"
            f' WHERE s."_headrace_place" = 1 AND t.{quoted(key[0])} IS NULL',
        )

    def note(self) -> None:
        """Write the ledger's row in the rows' transaction; a swap is noted once it is done."""
        if not self.swaps:
            super().note()

    def commit(self) -> None:
        """Commit rows and note as one, or swap the tables, then note it."""
        if self.swaps:
            self._swap()
            reach("swapped", self.request.pipeline_id)
            super().note()
        commit(self.connection)
        if self.swaps:
            reach("swap_noted", self.request.pipeline_id)
            self._drop_old()

    def location(self) -> str:
        """Name the database and the table."""
        return f"mysql: {self.database}.{self.table}"

    @property
    def staging(self) -> str:
        """The staging table's name: the same for each load of the table."""
        return f"_headrace_stage_{_digest(self.table)}"

    @property
    def old(self) -> str:
        """What a table is renamed to that was replaced."""
        return f"_headrace_old_{_digest(self.table)}"

    def _lock(self) -> None:
        ((database,),) = fetch(self.connection, "SELECT DATABASE()")
        # Always the pipeline before the table: two loads that need both cannot wait for each other.
        held = {f"{database}\0\0{self.request.pipeline_id}": "Another load of this pipeline is under way."}
        held[f"{database}\0{self.table}"] = f"Another load holds the table {self.table!r}."
        for what, detail in held.items():
            name = literal("headrace_" + _digest(what))
            if fetch(self.connection, f"SELECT GET_LOCK({name}, {self.limits.lock_timeout:g})") != [(1,)]:
                raise Busy(f"{detail} {lock_holder(self.connection, name)}")

    def _swap(self) -> None:
        moves = f"{quoted(self.staging)} TO {quoted(self.table)}"
        away = f"{quoted(self.table)} TO {quoted(self.old)}, " if self.exists else ""
        execute(self.connection, f"RENAME TABLE {away}{moves}")

    def _drop_old(self) -> None:
        """Drop what was replaced. The load is done: what stays is dropped by the table's next load."""
        try:
            execute(self.connection, f"DROP TABLE IF EXISTS {quoted(self.old)}")
        except pymysql.Error as error:
            self.request.log.warning(
                "The table %s stays until the next load: %s", self.old, type(error).__name__
            )

    def _fill(self, *, temporary: bool) -> int:
        """Create the staging table and send it every row, in statements of about a megabyte.

        Return how many the server has taken.
        """
        collation = collation_of(self.connection)
        parts = [f"{quoted(item.name)} {declared(item, collation)}" for item in self.given]
        if self.key:
            parts.append(f"{quoted(_ORDINAL)} bigint")
        kind = "TEMPORARY TABLE" if temporary else "TABLE"
        stage = quoted(self.staging)
        execute(self.connection, f"CREATE {kind} {stage} ({', '.join(parts)}) ENGINE = InnoDB")
        sent = taken = 0
        lost = Lost()
        self.connection.begin()
        for batch in self.request.output.batches(_ROWS):
            for values in statements(sql_rows(batch, self.given, sent if self.key else None)):
                taken += execute(self.connection, f"INSERT INTO {stage} VALUES {values}")  # noqa: S608 - as SQL text
            for item, array in zip(self.given, batch.columns, strict=True):
                lost.fractions[item.name] += finer_than_microseconds(array)
            sent += batch.num_rows
            self.request.progress(sent)
        commit(self.connection)
        lost.tell(self.request, "MySQL")
        return taken

    def _create(self, collation: str) -> None:
        parts = [
            f"{quoted(item.name)} {declared(item, collation)}{' NOT NULL' if item.name in self.key else ''}"
            for item in self.given
        ]
        if self.key:
            parts.append(f"PRIMARY KEY ({listed(self.key)})")
        execute(self.connection, f"CREATE TABLE {quoted(self.table)} ({', '.join(parts)}) ENGINE = InnoDB")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
