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
from typing import TYPE_CHECKING

import pymysql

from headrace.connectors import LoadRequest, Rejected
from headrace.connectors.kit.sql.loads import Busy, check_columns, check_key
from headrace.connectors.kit.sql.names import listed, literal, quoted
from headrace.connectors.mysql.catalog import Table, tables
from headrace.connectors.mysql.connection import LOCK_SECONDS, execute, fetch
from headrace.connectors.mysql.evolve import evolved
from headrace.connectors.mysql.landing import Landing, checked_name, declared, landings, sql_rows
from headrace.connectors.mysql.loads import ensure_loads, last_load, note

if TYPE_CHECKING:
    from pymysql.connections import Connection

_ORDINAL = "_headrace_row"  # of two rows with one key, the later one wins
_ROWS = 10_000
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


def load(connection: Connection, table: str, request: LoadRequest) -> None:
    """Load the output and note it; a load that was committed before is not done again."""
    names = request.output.schema.names
    for name in (checked_name("table", table), *names):
        checked_name("column", name)
    check_columns(names)
    key = request.primary_key if request.disposition == "merge" else ()
    if request.disposition == "merge":
        check_key(key, names)
    with _alone(connection, table):
        ensure_loads(connection)
        last = last_load(connection, request.pipeline_id)
        if last is not None and last.load_id == request.load_id:
            request.log.info("This load was committed before; nothing is loaded twice.")
            return
        execute(connection, f"DROP TABLE IF EXISTS {quoted(_old(table))}, {quoted(_stage(table))}")
        target = _target(connection, table)
        given = landings(request.output.schema, key)
        with _stage_gone_on_failure(connection, table):
            _publish(connection, table, target, given, key, request)


def _publish(
    connection: Connection,
    table: str,
    target: Table | None,
    given: list[Landing],
    key: tuple[str, ...],
    request: LoadRequest,
) -> None:
    if request.disposition == "replace" and given and _may_swap(connection, target, request):
        _swap(connection, table, given, request, exists=target is not None)
    else:
        _add(connection, table, given, key, request, exists=target is not None)


@contextmanager
def _stage_gone_on_failure(connection: Connection, table: str) -> Iterator[None]:
    """Leave no staging table where the session lives on; where it does not, the next load finds it."""
    try:
        yield
    except BaseException:
        with suppress(pymysql.Error):
            connection.rollback()
            execute(connection, f"DROP TABLE IF EXISTS {quoted(_stage(table))}")
        raise


@contextmanager
def _alone(connection: Connection, table: str) -> Iterator[None]:
    """Keep other loads of the table out; the server frees the lock of a session that ends."""
    ((database,),) = fetch(connection, "SELECT DATABASE()")
    name = literal("headrace_" + _digest(f"{database}\0{table}"))
    if fetch(connection, f"SELECT GET_LOCK({name}, {LOCK_SECONDS})") != [(1,)]:
        raise Busy(f"Another load holds the table {table!r}.")
    yield  # the session ends with the load, and the lock with the session


def _target(connection: Connection, table: str) -> Table | None:
    found = tables(connection, table)
    if not found:
        return None
    if found[0].is_view:
        raise Rejected(f"{table!r} is a view: it cannot be loaded.")
    if found[0].engine != "InnoDB":
        raise Rejected(f"{table!r} is a table of {found[0].engine}, which has no transactions.")
    return found[0]


def _may_swap(connection: Connection, target: Table | None, request: LoadRequest) -> bool:
    """Whether nothing would be lost with the table that is there but its rows and columns."""
    if target is None:
        return True
    if request.schema_contract == "freeze":
        return False
    return not fetch(connection, _HANGS_ON.format(literal(target.name)))


def _swap(
    connection: Connection, table: str, given: list[Landing], request: LoadRequest, *, exists: bool
) -> None:
    stage, old = _stage(table), _old(table)
    _fill(connection, stage, given, request)
    moves = f"{quoted(stage)} TO {quoted(table)}"
    request.before_commit()
    execute(
        connection,
        f"RENAME TABLE {quoted(table)} TO {quoted(old)}, {moves}" if exists else f"RENAME TABLE {moves}",
    )
    note(connection, table, request)
    connection.commit()
    execute(connection, f"DROP TABLE IF EXISTS {quoted(old)}")


def _add(
    connection: Connection,
    table: str,
    given: list[Landing],
    key: tuple[str, ...],
    request: LoadRequest,
    *,
    exists: bool,
) -> None:
    """Stage the output, make the table fit for it, and bring it over in one transaction with the note."""
    stage, collation = _stage(table), _collation(connection)
    if given:
        _fill(connection, stage, given, request, temporary=True, ordinal=bool(key))
        _check_no_nulls(connection, stage, key)
        if not exists:
            _create(connection, table, given, collation, key)
        values = evolved(connection, table, stage, given, collation, request.schema_contract)
        if key:
            _ensure_unique(connection, table, key)
    connection.begin()
    if request.disposition == "replace" and exists:
        execute(connection, f"DELETE FROM {quoted(table)}")  # noqa: S608 - quoted name
    if given and key:
        _merge(connection, table, stage, dict(zip(request.output.schema.names, values, strict=True)), key)
    elif given:
        names = listed(request.output.schema.names)
        query = f"SELECT {', '.join(values)} FROM {quoted(stage)} s"  # noqa: S608 - quoted names
        execute(connection, f"INSERT INTO {quoted(table)} ({names}) {query}")
    note(connection, table, request)
    request.before_commit()
    connection.commit()


def _merge(
    connection: Connection, table: str, stage: str, values: dict[str, str], key: tuple[str, ...]
) -> None:
    """Update the rows of known keys, then insert the others: of each key the last row that came.

    Not by ON DUPLICATE KEY UPDATE, which would take a row of the same value in any other unique key.
    """
    place = f"ROW_NUMBER() OVER (PARTITION BY {listed(key)} ORDER BY {quoted(_ORDINAL)} DESC)"
    last = f'(SELECT d.*, {place} AS "_headrace_place" FROM {quoted(stage)} d)'  # noqa: S608
    same = " AND ".join(f"t.{quoted(name)} = {values[name]}" for name in key)
    changes = ", ".join(f"t.{quoted(name)} = {value}" for name, value in values.items() if name not in key)
    if changes:
        execute(
            connection,
            f'UPDATE {quoted(table)} t JOIN {last} s ON {same} AND s."_headrace_place" = 1 SET {changes}',  # noqa: S608
        )
    execute(
        connection,
        f"INSERT INTO {quoted(table)} ({listed(list(values))}) SELECT {', '.join(values.values())}"  # noqa: S608
        f" FROM {last} s LEFT JOIN {quoted(table)} t ON {same}"
        f' WHERE s."_headrace_place" = 1 AND t.{quoted(key[0])} IS NULL',
    )


def _fill(
    connection: Connection,
    stage: str,
    given: list[Landing],
    request: LoadRequest,
    *,
    temporary: bool = False,
    ordinal: bool = False,
) -> None:
    """Create the staging table and send it every row, in statements of about a megabyte."""
    collation = _collation(connection)
    parts = [f"{quoted(item.name)} {declared(item, collation)}" for item in given]
    if ordinal:
        parts.append(f"{quoted(_ORDINAL)} bigint")
    kind = "TEMPORARY TABLE" if temporary else "TABLE"
    execute(connection, f"CREATE {kind} {quoted(stage)} ({', '.join(parts)}) ENGINE = InnoDB")
    sent = 0
    connection.begin()
    for batch in request.output.batches(_ROWS):
        for values in _statements(sql_rows(batch, given, sent if ordinal else None)):
            execute(connection, f"INSERT INTO {quoted(stage)} VALUES {values}")  # noqa: S608 - as SQL text
        sent += batch.num_rows
        request.progress(sent)
    connection.commit()


def _statements(rows: list[str]) -> Iterator[str]:
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


def _create(
    connection: Connection, table: str, given: list[Landing], collation: str, key: tuple[str, ...]
) -> None:
    parts = [
        f"{quoted(item.name)} {declared(item, collation)}{' NOT NULL' if item.name in key else ''}"
        for item in given
    ]
    if key:
        parts.append(f"PRIMARY KEY ({listed(key)})")
    execute(connection, f"CREATE TABLE {quoted(table)} ({', '.join(parts)}) ENGINE = InnoDB")


def _ensure_unique(connection: Connection, table: str, key: tuple[str, ...]) -> None:
    """Give the table the unique index that merging needs, unless it has one of just these columns."""
    own = f"table_schema = DATABASE() AND table_name = {literal(table)}"
    query = f"SELECT index_name, column_name FROM information_schema.statistics WHERE {own}"  # noqa: S608
    rows = fetch(connection, f"{query} AND non_unique = 0")
    indexes: dict[str, set[str]] = {}
    for index, column in rows:
        indexes.setdefault(index, set()).add(str(column).lower())
    if {name.lower() for name in key} not in indexes.values():
        execute(connection, f"ALTER TABLE {quoted(table)} ADD UNIQUE INDEX ({listed(key)})")


def _check_no_nulls(connection: Connection, stage: str, key: tuple[str, ...]) -> None:
    missing = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    if missing and fetch(connection, f"SELECT 1 FROM {quoted(stage)} WHERE {missing} LIMIT 1"):  # noqa: S608
        raise Rejected(f"A row has no value in its primary key ({', '.join(key)}).")


def _collation(connection: Connection) -> str:
    query = "SELECT collation_name FROM information_schema.collations WHERE collation_name LIKE 'utf8mb4%bin'"
    known = fetch(connection, query)
    return next(name for name in _COLLATIONS if (name,) in known)


def _stage(table: str) -> str:
    return f"_headrace_stage_{_digest(table)}"


def _old(table: str) -> str:
    return f"_headrace_old_{_digest(table)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
