"""Replacing a table by a new one under its name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from headrace.connectors import LoadRequest
from headrace.connectors.kit.sql.names import quoted
from headrace.connectors.postgres.connection import execute, fetch
from headrace.connectors.postgres.landing import Landing
from headrace.connectors.postgres.stage import Stage, fill

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

# Indexes, constraints, views, keys, triggers, policies and defaults all depend on their table; the rest has
# to be asked for one by one.
_PLAIN = """
SELECT c.relkind = 'r' AND c.relpersistence = 'p' AND c.reloptions IS NULL AND c.reltablespace = 0
    AND c.relreplident = 'd' AND NOT c.relrowsecurity AND c.relowner = current_user::regrole
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.deptype IN ('n', 'a') AND (
        (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
        OR (d.refclassid = 'pg_type'::regclass AND d.refobjid = c.reltype)))
    AND NOT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
    AND NOT EXISTS (SELECT FROM pg_description d
        WHERE d.classoid = 'pg_class'::regclass AND d.objoid = c.oid)
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped
        AND (a.attacl IS NOT NULL OR a.attnotnull OR a.atthasdef OR a.attidentity <> ''))
FROM pg_class c WHERE c.oid = $1
"""

_GRANTS = """
SELECT CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, g.privilege_type::text,
    g.is_grantable
FROM pg_class c CROSS JOIN aclexplode(c.relacl) g LEFT JOIN pg_roles r ON r.oid = g.grantee
WHERE c.oid = $1 AND g.grantee <> c.relowner
"""


def can_be_swapped(connection: Connection, relation: int) -> bool:
    """Whether nothing would be lost with the table but its rows, columns and grants."""
    ((plain,),) = fetch(connection, _PLAIN, relation)
    return bool(plain)


def swap(
    connection: Connection,
    schema: str,
    table: str,
    given: list[Landing],
    request: LoadRequest,
    *,
    old: int | None,
) -> int:
    """Fill a new table, then put it in the place of the old one, if there is one; return its rows.

    Only the last step locks out readers: none waits while the rows are sent.
    """
    digest = hashlib.sha256(f"{table}\0{request.load_id}".encode()).hexdigest()
    stage = Stage(landings=given, schema=schema, table=f"_headrace_{digest[:16]}")
    rows = fill(connection, stage, request)
    _restore_types(connection, stage)
    if old is not None:
        grants = fetch(connection, _GRANTS, old)
        execute(connection, f"DROP TABLE {quoted(schema, table)}")
        _grant_only(connection, stage.sql, grants)
    execute(connection, f"ALTER TABLE {stage.sql} RENAME TO {quoted(table)}")
    return rows


def _restore_types(connection: Connection, stage: Stage) -> None:
    """Give the columns that were sent as text their own types: one rewrite for all of them."""
    changes = [
        f"ALTER COLUMN {quoted(item.name)} TYPE {item.natural} USING {item.expression}"
        for item in stage.landings
        if item.wire != item.natural
    ]
    if changes:
        execute(connection, f"ALTER TABLE {stage.sql} {', '.join(changes)}")


def _grant_only(connection: Connection, table: str, grants: list[tuple[str, str, bool]]) -> None:
    """Grant what was granted, and nothing that the schema's default privileges gave the new table."""
    ((oid,),) = fetch(connection, "SELECT to_regclass($1)::oid::int8", table)
    for grantee in {grantee for grantee, _, _ in fetch(connection, _GRANTS, oid)}:
        execute(connection, f"REVOKE ALL ON TABLE {table} FROM {grantee}")
    for grantee, privilege, grantable in grants:
        option = " WITH GRANT OPTION" if grantable else ""
        execute(connection, f"GRANT {privilege} ON TABLE {table} TO {grantee}{option}")
