"""Tables of databases as sources."""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from decimal import Decimal
from typing import Any, ClassVar

import duckdb
import psycopg
import pymysql
from history_steps import Add, Change, Delete, Drop, Mode, Plan, Put, Rename, Retype
from model import Column, Row, Table, coerced
from source_system import ALTERS, Place, SourceSystem

Statement = tuple[str, tuple[Any, ...]]


class _Sql(SourceSystem):
    """What the SQL systems share: statements gathered until a run needs the table."""

    is_database: ClassVar[bool] = True
    types: ClassVar[dict[str, str]]
    mark: ClassVar[str] = "?"
    quote: ClassVar[str] = '"'
    placeless: ClassVar[Mapping[str, str]] = {}
    """By kind, a value that Arrow has no place for. It must arrive as null and be counted."""
    relation = "things"

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.statements: list[Statement] = []
        self.must_rebuild = False

    def execute(self, statements: list[Statement]) -> None:
        """Run the statements in one transaction."""
        raise NotImplementedError

    def name_of(self, name: str) -> str:
        """Quote a name."""
        return f"{self.quote}{name}{self.quote}"

    def value(self, value: Any) -> Any:
        """Return a value as the driver takes it."""
        return value

    def create(self, table: Table) -> None:
        """Make the empty table."""
        self.execute([self.creation(table)])

    def creation(self, table: Table) -> Statement:
        """Return the statement that makes the table."""
        columns = [f"{self.name_of(one.name)} {self.types[one.kind]}" for one in table.columns.values()]
        columns += [f"PRIMARY KEY ({self.name_of(name)})" for name in self.key]
        return f"CREATE TABLE {self.relation} ({', '.join(columns)})", ()

    def note(self, table: Table, step: Change) -> None:
        """Gather the statements of a change; a system that alters no table well makes it anew."""
        match step:
            case Put():
                self.statements += [self.deletion(step.number), self.insertion(table, step.row)]
            case Delete():
                self.statements.append(self.deletion(step.number))
            case Add():
                column, kind = self.name_of(step.column.name), self.types[step.column.kind]
                self.statements.append((f"ALTER TABLE {self.relation} ADD COLUMN {column} {kind}", ()))
            case Drop() | Rename() | Retype():
                self.alter(table, step)

    def alter(self, table: Table, step: Drop | Rename | Retype) -> None:
        """Change a column."""
        self.must_rebuild = True

    def deletion(self, number: int) -> Statement:
        """Return the statement that deletes a row."""
        return f"DELETE FROM {self.relation} WHERE {self.name_of('id')} = {self.mark}", (number,)

    def insertion(self, table: Table, row: Mapping[str, Any]) -> Statement:
        """Return the statement that inserts a row."""
        columns = table.columns
        listed = ", ".join(self.name_of(column.name) for column in columns.values())
        marks = ", ".join(self.mark for _ in columns)
        values = tuple(
            self.placeless[column.kind]
            if self._is_placeless(row, key, column)
            else self.value(coerced(row.get(key), column.kind))
            for key, column in columns.items()
        )
        return f"INSERT INTO {self.relation} ({listed}) VALUES ({marks})", values

    def _is_placeless(self, row: Row | Mapping[str, Any], key: str, column: Column) -> bool:
        """Whether a row has such a value where the model has null.

        Not where types change, since it would, too, and not in a column that is younger than the row.
        """
        is_chosen = not self.plan.drifts and row["id"] % 2 == 1 and key in row
        return is_chosen and row[key] is None and column.kind in self.placeless

    def nulled(self, table: Table, rows: Iterable[Row]) -> int:
        return sum(
            any(self._is_placeless(row, key, column) for key, column in table.columns.items()) for row in rows
        )

    def write(self, table: Table) -> None:
        """Run the gathered statements, or make the table anew."""
        if self.must_rebuild:
            rows = [self.insertion(table, row) for row in table.rows.values()]
            self.statements = [(f"DROP TABLE {self.relation}", ()), self.creation(table), *rows]
        if self.statements:
            self.execute(self.statements)
        self.statements, self.must_rebuild = [], False


class SqliteSource(_Sql):
    """A table of a SQLite file."""

    name: ClassVar[str] = "sqlite"
    lacks: ClassVar[frozenset[str]] = frozenset({"nothing"})
    types: ClassVar[dict[str, str]] = {
        "integer": "INTEGER", "small": "INTEGER", "boolean": "INTEGER", "double": "REAL", "decimal": "TEXT",
        "text": "TEXT", "date": "TEXT", "timestamp": "TEXT", "moment": "TEXT", "json": "TEXT",
        "bytes": "BLOB",
    }  # fmt: skip

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.path = place.folder / "source.sqlite"

    def config(self) -> dict[str, Any]:
        return {"name": "sqlite", "path": str(self.path), "stream": "things", **self.sync_by_field()}

    def value(self, value: Any) -> Any:
        if isinstance(value, bool):
            return int(value)
        return str(value) if isinstance(value, Decimal | dt.date) else value

    def execute(self, statements: list[Statement]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for statement, values in statements:
                connection.execute(statement, values)


class DuckdbSource(_Sql):
    """A table of a DuckDB file."""

    name: ClassVar[str] = "duckdb"
    has_types: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset({"nothing"})
    types: ClassVar[dict[str, str]] = {
        "integer": "BIGINT", "small": "BIGINT", "boolean": "BOOLEAN", "double": "DOUBLE",
        "decimal": "DECIMAL(30,6)", "text": "VARCHAR", "date": "DATE", "timestamp": "TIMESTAMP",
        "moment": "TIMESTAMPTZ", "json": "JSON", "bytes": "BLOB",
    }  # fmt: skip
    placeless: ClassVar[Mapping[str, str]] = {
        "date": "infinity", "timestamp": "-infinity", "moment": "infinity",
    }  # fmt: skip

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.path = place.folder / "source.duckdb"

    def config(self) -> dict[str, Any]:
        return {"name": "duckdb", "path": str(self.path), "stream": "main.things", **self.sync_by_field()}

    def execute(self, statements: list[Statement]) -> None:
        with duckdb.connect(str(self.path)) as connection:
            for statement, values in statements:
                connection.execute(statement, list(values))


class PostgresSource(_Sql):
    """A table of a PostgreSQL schema that the process's histories share."""

    name: ClassVar[str] = "postgres"
    has_types: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset({"nothing"})
    has_transactions: ClassVar[bool] = True
    tells_apart: ClassVar[bool] = True
    mark: ClassVar[str] = "%s"
    types: ClassVar[dict[str, str]] = {
        "integer": "bigint", "small": "bigint", "boolean": "boolean", "double": "float8",
        "decimal": "numeric(30,6)", "text": "text", "date": "date", "timestamp": "timestamp",
        "moment": "timestamptz", "json": "jsonb", "bytes": "bytea",
    }  # fmt: skip
    placeless: ClassVar[Mapping[str, str]] = {
        "date": "infinity", "timestamp": "-infinity", "moment": "infinity", "decimal": "NaN",
    }  # fmt: skip

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.servers = place.servers
        self.relation = f"{self.servers.postgres_schema}.{self.servers.fresh_name('rows')}"
        self.open: psycopg.Connection | None = None

    @classmethod
    def alters(cls, mode: Mode) -> frozenset[str]:
        """A change of type writes the table anew, after which rows that are appended are known by looks."""
        return ALTERS - {"Retype"} if mode == "append" else ALTERS

    def config(self) -> dict[str, Any]:
        url = self.servers.postgres_url
        return {"name": "postgres", "url": url, "stream": self.relation, **self.sync_by_field()}

    def alter(self, table: Table, step: Drop | Rename | Retype) -> None:
        column = self.name_of(table.columns[step.key].name)
        match step:
            case Drop():
                what = f"DROP COLUMN {column}"
            case Rename():
                what = f"RENAME COLUMN {column} TO {self.name_of(step.name)}"
            case Retype():
                kind = self.types[step.kind]
                what = f"ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}"
        self.statements.append((f"ALTER TABLE {self.relation} {what}", ()))

    def execute(self, statements: list[Statement]) -> None:
        with self.servers.postgres_session() as connection:
            for statement, values in statements:
                connection.execute(statement.encode(), values)

    def begin(self, table: Table, rows: Mapping[int, Row]) -> None:
        """Write rows in a transaction that stays open."""
        self.open = psycopg.connect(self.servers.postgres_url)
        for row in rows.values():
            statement, values = self.insertion(table, row)
            self.open.execute(statement.encode(), values)

    def commit(self) -> None:
        """Commit the transaction."""
        assert self.open is not None, "it was begun"
        self.open.commit()
        self.open.close()
        self.open = None

    def close(self) -> None:
        if self.open is not None:
            self.open.close()
        self.execute([(f"DROP TABLE IF EXISTS {self.relation}", ())])


class MysqlSource(_Sql):
    """A table of a MariaDB database that the process's histories share."""

    name: ClassVar[str] = "mysql"
    has_types: ClassVar[bool] = True
    lacks: ClassVar[frozenset[str]] = frozenset({"nothing"})
    mark: ClassVar[str] = "%s"
    quote: ClassVar[str] = "`"
    types: ClassVar[dict[str, str]] = {
        "integer": "BIGINT", "small": "BIGINT", "boolean": "BOOLEAN", "double": "DOUBLE",
        "decimal": "DECIMAL(30,6)", "text": "VARCHAR(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "date": "DATE", "timestamp": "DATETIME(6)", "moment": "DATETIME(6)", "json": "JSON",
        "bytes": "VARBINARY(100)",
    }  # fmt: skip
    placeless: ClassVar[Mapping[str, str]] = {
        "date": "0000-00-00", "timestamp": "0000-00-00 00:00:00", "moment": "2024-00-10 10:00:00",
    }  # fmt: skip

    def __init__(self, place: Place, plan: Plan) -> None:
        super().__init__(place, plan)
        self.servers = place.servers
        self.relation = self.servers.fresh_name("rows")

    def config(self) -> dict[str, Any]:
        where = self.servers.mysql_database
        return {"name": "mysql", **where, "stream": self.relation, **self.sync_by_field()}

    def value(self, value: Any) -> Any:
        if isinstance(value, dt.datetime) and value.tzinfo:
            return value.replace(tzinfo=None)
        return value

    def alter(self, table: Table, step: Drop | Rename | Retype) -> None:
        found = table.columns[step.key]
        column = self.name_of(found.name)
        match step:
            case Drop():
                what = f"DROP COLUMN {column}"
            case Rename():
                what = f"CHANGE COLUMN {column} {self.name_of(step.name)} {self.types[found.kind]}"
            case Retype():
                what = f"MODIFY COLUMN {column} {self.types[step.kind]}"
        self.statements.append((f"ALTER TABLE {self.relation} {what}", ()))

    def execute(self, statements: list[Statement]) -> None:
        connection: pymysql.Connection[Any] = self.servers.mysql_session()
        with connection.cursor() as cursor:
            for statement, values in statements:
                cursor.execute(statement, values)
        connection.commit()

    def close(self) -> None:
        self.execute([(f"DROP TABLE IF EXISTS {self.relation}", ())])
