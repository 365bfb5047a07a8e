"""What MySQL's catalog says of tables: their names, keys and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.connectors.kit.sql.names import literal
from headrace.connectors.mysql.connection import fetch

if TYPE_CHECKING:
    from pymysql.connections import Connection

_TABLES = """
SELECT table_name, table_type, engine, CASE WHEN table_type = 'VIEW' THEN '' ELSE table_comment END
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'SEQUENCE'
"""
_KEYS = """
SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND index_name = 'PRIMARY'
"""
_COLUMNS = """
SELECT column_name, data_type, column_type, numeric_precision, numeric_scale, datetime_precision,
    character_maximum_length, character_set_name, collation_name, is_nullable = 'YES',
    coalesce(generation_expression, '') <> '',
    extra <> '' OR coalesce(column_default, 'NULL') <> 'NULL', column_comment
FROM information_schema.columns WHERE table_schema = DATABASE()
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or a view of the session's database."""

    name: str
    is_view: bool
    engine: str
    comment: str
    primary_key: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column, as declared."""

    name: str
    type: str  # in lower case, without its size: "int", "varchar"
    declared: str  # as SQL writes it: "int(10) unsigned", "enum('a','b')"
    precision: int  # of numbers; 0: none
    scale: int
    fraction: int  # digits of a second
    length: int  # of text, in characters; 0: none
    charset: str
    collation: str
    nullable: bool
    computed: bool  # by the server alone: an insert cannot name it
    filled: bool  # where nothing is given: by a default, a counter, the time
    comment: str

    @property
    def unsigned(self) -> bool:
        """Whether a number has no sign."""
        return "unsigned" in self.declared


def tables(connection: Connection, name: str | None = None) -> list[Table]:
    """List every table and view of the database that this user may see, by name, or the one named."""
    condition = "" if name is None else f" AND table_name = {literal(name)}"
    keys: dict[str, list[str]] = {}
    for table, column in fetch(connection, f"{_KEYS}{condition} ORDER BY table_name, seq_in_index"):
        keys.setdefault(table, []).append(column)
    return [
        Table(
            name=found,
            is_view="VIEW" in kind,
            engine=engine or "",
            comment=comment or "",
            primary_key=tuple(keys.get(found, ())),
        )
        for found, kind, engine, comment in fetch(connection, f"{_TABLES}{condition} ORDER BY table_name")
        if name is None or found == name  # the catalog may compare without case
    ]


def columns(connection: Connection, table: str) -> list[Column]:
    """Return a table's columns in order; none when there is no such table."""
    query = f"{_COLUMNS} AND table_name = {literal(table)} ORDER BY ordinal_position"
    return [_column(*row) for row in fetch(connection, query)]


def _column(name: str, kind: str, declared: str, *facts: Any) -> Column:
    precision, scale, fraction, length, charset, collation, nullable, computed, filled, comment = facts
    return Column(
        name=name,
        type=kind.lower(),
        declared=declared,
        precision=int(precision or 0),
        scale=int(scale or 0),
        fraction=int(fraction or 0),
        length=int(length or 0),
        charset=charset or "",
        collation=collation or "",
        nullable=bool(nullable),
        computed=bool(computed),
        filled=bool(filled),
        comment=comment or "",
    )
