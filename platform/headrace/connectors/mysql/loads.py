"""`_headrace_loads`: what each pipeline last committed to a database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.connectors import Loaded, LoadRequest, cursor_text
from headrace.connectors.kit.sql.loads import LOADS
from headrace.connectors.kit.sql.names import literal, quoted
from headrace.connectors.mysql.catalog import tables
from headrace.connectors.mysql.connection import execute, fetch

if TYPE_CHECKING:
    from pymysql.connections import Connection

_NAMES = '"pipeline_id", "load_id", "table_name", "cursor", "rows", "loaded_at"'


def ensure_loads(connection: Connection) -> None:
    """Make the table of loads where it is missing: a transaction cannot."""
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {quoted(LOADS)} (pipeline_id VARCHAR(255) PRIMARY KEY,"
        ' load_id VARCHAR(255) NOT NULL, table_name VARCHAR(64) NOT NULL, "cursor" LONGTEXT,'
        ' "rows" BIGINT NOT NULL, loaded_at DATETIME(6) NOT NULL)'
        " ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )


def last_load(connection: Connection, pipeline_id: str) -> Loaded | None:
    """Return the pipeline's last load; None when it never loaded into this database."""
    if not tables(connection, LOADS):
        return None
    rows = fetch(
        connection,
        f'SELECT load_id, "cursor" FROM {quoted(LOADS)} WHERE pipeline_id = {literal(pipeline_id)}',  # noqa: S608
    )
    return next((Loaded(load_id=row[0], cursor=json.loads(row[1] or "null")) for row in rows), None)


def note(connection: Connection, table: str, request: LoadRequest) -> None:
    """Note the load as the pipeline's last one, in the transaction that is open."""
    cursor = "NULL" if request.cursor is None else literal(cursor_text(request.cursor))
    values = ", ".join([
        literal(request.pipeline_id), literal(request.load_id), literal(table), cursor,
        str(request.output.rows), "UTC_TIMESTAMP(6)",
    ])  # fmt: skip
    execute(connection, f"REPLACE INTO {quoted(LOADS)} ({_NAMES}) VALUES ({values})")  # noqa: S608
