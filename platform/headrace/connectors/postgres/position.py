"""Which rows of a table an earlier run has not delivered, told by the transactions that wrote them.

A transaction's number (`xmin` of a row) is taken when it starts to write, and its rows become visible when it
commits, in any order. A run therefore stores, with the snapshot that it has read:

- the oldest transaction that was still open (`pg_snapshot_xmin`): what is older was delivered, or will never
  be visible;
- the younger transactions whose rows it has read from this table. A savepoint has a number of its own, which
  the snapshot does not list, so the numbers are taken from the rows.

The next run delivers the rows of every other transaction from the oldest open one on, whatever their cursor.
A position holds for one history of one cluster: it carries the system's identifier and the timeline, which
changes when a standby is promoted. A standby has no position: its snapshots do not list what is open.

The table is not read if nothing was written since. That is so if the snapshot is the same; or if the counters
of the table's inserted and updated rows are the same (`pg_stat_get_tuples_inserted`) and no session can hold
changes that are not counted yet. A session counts its changes within ten idle seconds after the commit.
Nor is it read from the start if as many new rows as were counted lie at the cursor and above: none is left
then to lie below. Each new row was counted once at least, and what was rolled back was counted, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from headrace.connectors.postgres.connection import fetch

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

MOST_TRANSACTIONS = 100_000  # that have committed while an older one was open
_LISTED = 20_000  # transactions that a query names one by one
_WRAP = 2**32  # numbers of rows are the low half of a transaction's
_FURTHEST = 2**31 - 10_000_000  # how far apart such numbers may lie
_FIRST_NORMAL = 3  # lower numbers are the system's own

_SERVER = """
SELECT pg_is_in_recovery(), current_setting('server_version_num')::int4,
    (SELECT system_identifier::text FROM pg_control_system()),
    CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
    current_setting('track_counts') = 'on',
    pg_postmaster_start_time()::text || (SELECT stats_reset::text FROM pg_stat_bgwriter)
        || (SELECT coalesce(stats_reset::text, '') FROM pg_stat_database WHERE datname = current_database()),
    txid_current_snapshot()::text,
    NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
            AND (state IS DISTINCT FROM 'idle' OR state_change > clock_timestamp() - interval '15 seconds')
    )
"""
_COUNTED_WHEN_IDLE = 150000  # servers from PostgreSQL 15 on
_TABLES = """
WITH RECURSIVE tree(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent
)
SELECT c.oid::int8, c.relkind::text, coalesce(a.amname::text, ''),
    coalesce(pg_relation_filenode(c.oid), 0)::int8,
    coalesce(pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid), 0)::int8
FROM tree JOIN pg_class c USING (oid) LEFT JOIN pg_am a ON a.oid = c.relam ORDER BY 1
"""
_SNAPSHOT = """
SELECT s::text, pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8
FROM (SELECT pg_current_snapshot() s) now
"""


class NoPosition(Exception):
    """The rows' transactions cannot be told or compared; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was true before the snapshot: it must be read in a transaction of its own."""

    cluster: str
    tables: dict[int, int]  # each table's or partition's oid, and the file that holds its rows
    changes: str | None  # the counters of changes, and since when they count; None: they do not
    is_counted: bool  # nobody holds changes that the counters lack
    snapshot: str  # from before the counters were read

    def holds(self, now: Position) -> bool:
        """Whether the counters have all that a later snapshot can see."""
        return self.is_counted and self.snapshot == now.snapshot


@dataclass(frozen=True, kw_only=True)
class Position:
    """Up to where a table was delivered."""

    cluster: str
    tables: dict[int, int]
    changes: str | None
    snapshot: str
    oldest: int  # the oldest transaction that was open
    delivered: frozenset[int] = field(default=frozenset())  # younger ones whose rows were delivered

    def to_json(self) -> dict[str, Any]:
        """Write the position down."""
        return {
            "cluster": self.cluster,
            "tables": {str(oid): file for oid, file in self.tables.items()},
            "changes": self.changes,
            "snapshot": self.snapshot,
            "oldest": self.oldest,
            "delivered": _ranges(number - self.oldest for number in self.delivered),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Position:
        """Read a position. Raises NoPosition."""
        try:
            return cls(
                cluster=stored["cluster"],
                tables={int(oid): int(file) for oid, file in stored["tables"].items()},
                changes=stored["changes"],
                snapshot=stored["snapshot"],
                oldest=int(stored["oldest"]),
                delivered=frozenset(
                    int(stored["oldest"]) + number for number in _numbers(stored["delivered"])
                ),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise NoPosition("the stored position is damaged") from None

    def is_unchanged(self, now: Position, facts: Facts) -> bool:
        """Whether no row can have become visible between the snapshots."""
        if self.tables != now.tables:
            return False
        if self.snapshot == now.snapshot:
            return True
        return facts.is_counted and self.changes is not None and self.changes == now.changes

    def counted_since(self, before: Position) -> int | None:
        """Return how many rows were inserted or updated since; None where the counters cannot tell."""
        (old, since_old), (new, since_new) = _counts(before.changes), _counts(self.changes)
        is_same = before.tables == self.tables and since_old == since_new and len(old) == len(new)
        return sum(new) - sum(old) if is_same and new else None

    def with_delivered(self, numbers: Iterable[int | None], before: Position | None) -> Position:
        """Add the transactions of delivered rows, numbered as in rows, and those of an earlier position."""
        known = set(before.delivered) if before else set()
        known |= {self.oldest + (number - self.oldest) % _WRAP for number in numbers if number is not None}
        return replace(self, delivered=frozenset(number for number in known if number >= self.oldest))


def facts(connection: Connection, schema: str, table: str) -> Facts:
    """Return what tells the cluster, the table's parts and their changes; ends the transaction.

    Raises NoPosition, with the reason in words for the run's log.
    """
    import adbc_driver_manager

    try:
        ((standby, version, system, timeline, counted, since, snapshot, quiet),) = fetch(connection, _SERVER)
        if standby:
            raise NoPosition("the server is a standby")
        if version < 130000:
            raise NoPosition("the server is older than PostgreSQL 13")
        parts = fetch(connection, _TABLES, schema, table)
    except adbc_driver_manager.Error:
        raise NoPosition("the server does not tell its identity and its counters") from None
    finally:
        connection.rollback()
    for _, kind, method, _, _ in parts:
        if kind not in ("r", "p", "m") or (kind != "p" and method != "heap"):
            raise NoPosition("it is a view, a foreign table or has one as a part")
    changes = ",".join(str(part[4]) for part in parts)
    return Facts(
        cluster=f"{system}/{timeline}",
        tables={oid: file for oid, _, _, file, _ in parts},
        changes=f"{changes} since {since}" if counted and since else None,
        is_counted=quiet and version >= _COUNTED_WHEN_IDLE,
        snapshot=snapshot,
    )


def current(connection: Connection, facts: Facts) -> Position:
    """Return the position of this transaction's snapshot, before any row was read."""
    ((snapshot, oldest, _),) = fetch(connection, _SNAPSHOT)
    return Position(
        cluster=facts.cluster, tables=facts.tables, changes=facts.changes, snapshot=snapshot, oldest=oldest
    )


def comparable(before: Position, now: Position, *, merges: bool) -> None:
    """Raise NoPosition unless the rows since `before` can be told.

    A table that was written anew (ALTER TABLE, VACUUM FULL) may have rows of new transactions that are old:
    they may be delivered again only where rows are merged.
    """
    if before.cluster != now.cluster:
        raise NoPosition("the cursor comes from another server, or from before a failover")
    if now.oldest < before.oldest or _end(now) - before.oldest > _FURTHEST:
        raise NoPosition("too many transactions have passed since the last run")
    is_other = before.tables.keys().isdisjoint(now.tables)
    rewritten = [oid for oid, file in before.tables.items() if now.tables.get(oid, file) != file]
    if (is_other or rewritten) and not merges:
        raise NoPosition("the table was written anew")


def since(before: Position, now: Position) -> str:
    """Return the SQL condition of rows that `now` can see and `before` could not."""
    count = _end(now) - before.oldest - len(before.delivered)
    if count <= _LISTED:
        numbers = (number for number in range(before.oldest, _end(now)) if number not in before.delivered)
        found = f"xmin = ANY ({_xids(numbers)})"
    else:
        found = f"age(xmin) BETWEEN 0 AND {_age(before.oldest)}"
        if before.delivered:
            found += f" AND NOT xmin = ANY ({_xids(before.delivered)})"
    attached = [str(oid) for oid in now.tables if oid not in before.tables]
    return f"({found} OR tableoid IN ({', '.join(attached)}))" if attached else f"({found})"


def young(now: Position) -> str:
    """Return SQL for a row's transaction, as a number; null where it is older than every open one."""
    if _end(now) == now.oldest:
        return "NULL::int8"
    return f"CASE WHEN age(xmin) BETWEEN 0 AND {_age(now.oldest)} THEN xmin::text::int8 END"


def _counts(changes: str | None) -> tuple[list[int], str]:
    """Return the counters of changes, and since when they count."""
    numbers, _, since = (changes or "").partition(" since ")
    return [int(number) for number in numbers.split(",") if number], since


def _end(position: Position) -> int:
    """Return the first transaction that had not begun."""
    return int(position.snapshot.split(":")[1])


def _age(number: int) -> str:
    return f"(SELECT age('{max(number % _WRAP, _FIRST_NORMAL)}'::xid))"  # once, and not for each row


def _xids(numbers: Iterable[int]) -> str:
    halves = (number % _WRAP for number in numbers)
    return "'{" + ",".join(str(half) for half in halves if half >= _FIRST_NORMAL) + "}'::xid[]"


def _ranges(numbers: Iterable[int]) -> str:
    """Write numbers as text, runs of them as their ends: `1-5,8`."""
    ordered = sorted(numbers)
    found = []
    for _, group in groupby(enumerate(ordered), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        found.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(found)


def _numbers(text: str) -> Iterator[int]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
