"""What a load asks of MySQL before and while it stages rows: collations, what hangs on a table, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pymysql

from headrace.connectors.kit.sql.names import literal
from headrace.connectors.mysql.connection import fetch

if TYPE_CHECKING:
    from pymysql.connections import Connection

_STATEMENT_BYTES = 1024 * 1024  # a server takes 16 MiB or more, unless told otherwise
# Collations that tell every two texts apart, the best first: the last takes blanks at the end for nothing.
_COLLATIONS = ("utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_bin")
_HANGS_ON = """
SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = {0}
UNION ALL SELECT 1 FROM information_schema.triggers
    WHERE event_object_schema = DATABASE() AND event_object_table = {0}
UNION ALL SELECT 1 FROM information_schema.key_column_usage
    WHERE referenced_table_schema = DATABASE() AND referenced_table_name = {0}
UNION ALL SELECT 1 FROM information_schema.table_constraints
    WHERE table_schema = DATABASE() AND table_name = {0}
UNION ALL SELECT 1 FROM information_schema.partitions
    WHERE table_schema = DATABASE() AND table_name = {0} AND partition_name IS NOT NULL
UNION ALL SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = {0}
    AND (is_nullable = 'NO' OR column_comment <> '' OR extra <> ''
        OR coalesce(column_default, 'NULL') <> 'NULL')
UNION ALL SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = {0}
    AND table_comment <> ''
LIMIT 1
"""


def is_held(connection: Connection, table: str) -> bool:
    """Whether anything but rows and columns hangs on a table."""
    return bool(fetch(connection, _HANGS_ON.format(literal(table))))


def lock_holder(connection: Connection, name: str) -> str:
    """Say who holds a lock, whose name is given as SQL."""
    query = f"SELECT id, user, host, time FROM information_schema.processlist WHERE id = IS_USED_LOCK({name})"  # noqa: S608
    found = fetch(connection, query)
    if not found:
        return "Its session has ended since."
    number, user, host, seconds = found[0]
    # Empty where the server does not keep what clients say of themselves (performance_schema).
    attributes = (
        "SELECT attr_value FROM performance_schema.session_connect_attrs"  # noqa: S608 - a number
        f" WHERE processlist_id = {number:d} AND attr_name = 'program_name'"
    )
    try:
        named = fetch(connection, attributes)
    except pymysql.Error:
        named = []
    session = named[0][0] if named else "A session"
    return f"{session} has the lock: connection {number}, user {user} from {host}, quiet for {seconds} s."


def statements(rows: list[str]) -> Iterator[str]:
    """Join rows to statements of about a megabyte."""
    held: list[str] = []
    size = 0
    for row in rows:
        if held and size + len(row) > _STATEMENT_BYTES:
            yield ",".join(held)
            held, size = [], 0
        held.append(row)
        size += len(row)
    if held:
        yield ",".join(held)


def collation_of(connection: Connection) -> str:
    """Return the collation of new columns of text."""
    query = "SELECT collation_name FROM information_schema.collations WHERE collation_name LIKE 'utf8mb4%bin'"
    known = fetch(connection, query)
    return next(name for name in _COLLATIONS if (name,) in known)
