"""`_headrace_loads`: what each pipeline last committed to a schema, written in the same transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.connectors import Loaded, LoadRequest, cursor_text
from headrace.connectors.kit.sql.loads import LOADS
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.connection import execute, fetch

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection


def last_load(connection: Connection, schema: str, pipeline_id: str) -> Loaded | None:
    """Return the pipeline's last load; None when it never loaded into this schema."""
    if not _exists(connection, schema):
        return None
    rows = fetch(
        connection,
        f"SELECT load_id, cursor FROM {quoted(schema, LOADS)} WHERE pipeline_id = $1",  # noqa: S608 - quoted
        pipeline_id,
    )
    return next((Loaded(load_id=row[0], cursor=json.loads(row[1] or "null")) for row in rows), None)


def record_load(connection: Connection, schema: str, table: str, request: LoadRequest) -> None:
    """Note the load as the pipeline's last one, in the transaction that is open."""
    if not _exists(connection, schema):
        # Two first loads at once: the second waits here, and then finds the table.
        execute(connection, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{schema}.{LOADS}")
        execute(
            connection,
            f"CREATE TABLE IF NOT EXISTS {quoted(schema, LOADS)} (pipeline_id text PRIMARY KEY, "
            "load_id text NOT NULL, table_name text NOT NULL, cursor text, rows bigint NOT NULL, "
            "loaded_at timestamp with time zone NOT NULL)",
        )
    execute(
        connection,
        f"INSERT INTO {quoted(schema, LOADS)}"  # noqa: S608 - quoted names
        " (pipeline_id, load_id, table_name, cursor, rows, loaded_at)"
        " VALUES ($1, $2, $3, nullif($4, 'null'), $5, now()) ON CONFLICT (pipeline_id) DO UPDATE SET "
        "load_id = excluded.load_id, table_name = excluded.table_name, cursor = excluded.cursor, "
        "rows = excluded.rows, loaded_at = excluded.loaded_at",
        request.pipeline_id,
        request.load_id,
        table,
        cursor_text(request.cursor),
        request.output.rows,
    )


def _exists(connection: Connection, schema: str) -> bool:
    ((oid,),) = fetch(connection, "SELECT to_regclass($1)::oid::int8", quoted(schema, LOADS))
    return oid is not None
