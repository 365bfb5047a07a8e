"""What PostgreSQL's catalog says of tables: their names, keys and columns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.connectors.postgres.connection import fetch

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

# Ordinary and partitioned tables, views, materialized views and foreign tables.
_READABLE = """
SELECT n.nspname, c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''),
    ARRAY(
        SELECT a.attname::text FROM pg_index i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, position)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE i.indrelid = c.oid AND i.indisprimary
        ORDER BY k.position
    )
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_t%'
    AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
"""

# A domain is read as the type below it, however deep; a type of another schema than the system's goes
# without a name, lest a user's type "int4" be taken for the real one.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END,
    base.typmod, a.attndims::int4,
    CASE WHEN t.typcategory = 'A' AND e.typnamespace = 'pg_catalog'::regnamespace
         THEN e.typname::text ELSE '' END,
    a.attgenerated <> '' OR a.attidentity = 'a', NOT a.attnotnull
FROM pg_attribute a
CROSS JOIN LATERAL (
    WITH RECURSIVE below(oid, typmod) AS (
        SELECT a.atttypid, a.atttypmod
        UNION ALL
        SELECT d.typbasetype, d.typtypmod FROM below JOIN pg_type d ON d.oid = below.oid AND d.typtype = 'd'
    )
    SELECT below.oid, below.typmod FROM below JOIN pg_type p ON p.oid = below.oid AND p.typtype <> 'd'
) base
JOIN pg_type t ON t.oid = base.oid
LEFT JOIN pg_type e ON e.oid = t.typelem
WHERE a.attrelid = (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2
    )
    AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A relation that can be read."""

    schema: str
    name: str
    comment: str
    primary_key: tuple[str, ...]

    @property
    def stream(self) -> str:
        """The stream's name: schema and table with a dot between, unquoted."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, with the type that its values really have below any domain."""

    name: str
    declared: str  # as SQL writes it: "numeric(10,2)", "character varying(20)[]"
    type: str  # the system type's internal name, such as "int4" or "_text"; "" for a type of a user's
    typmod: int  # -1: none
    dimensions: int  # as declared, which PostgreSQL does not enforce; 0: not an array
    element: str  # of an array: its elements' type like `type`
    computed: bool  # by the server alone: an insert cannot name it
    nullable: bool = True


def tables(connection: "Connection") -> list[Table]:
    """List every relation that this user may read, by name; partitions show as their table."""
    return _tables(connection, "AND NOT c.relispartition ORDER BY 1, 2")


def find_tables(connection: "Connection", stream: str) -> list[Table]:
    """Return the relations that a stream's name may mean; without a schema it may lie in `public`."""
    return _tables(connection, "AND n.nspname || '.' || c.relname IN ($1, 'public.' || $1)", stream)


def columns(connection: "Connection", schema: str, table: str) -> list[Column]:
    """Return a table's columns in order; none when there is no such table."""
    return [
        Column(
            name=name,
            declared=declared,
            type=type_name,
            typmod=typmod,
            dimensions=dimensions,
            element=element,
            computed=computed,
            nullable=nullable,
        )
        for name, declared, type_name, typmod, dimensions, element, computed, nullable in fetch(
            connection, _COLUMNS, schema, table
        )
    ]


def _tables(connection: "Connection", condition: str, *parameters: object) -> list[Table]:
    return [
        Table(schema=schema, name=name, comment=comment, primary_key=tuple(key))
        for schema, name, comment, key in fetch(connection, _READABLE + condition, *parameters)
    ]
