"""PostgreSQL, as a source and as a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from headrace.connectors import (
    Checkpoint,
    Destination,
    Loaded,
    LoadRequest,
    LoadResult,
    ReadRequest,
    Rejected,
    SchemaContract,
    Source,
    Stream,
    SyncMode,
    Unauthorized,
    Unreadable,
)
from headrace.connectors.kit.sql.loads import table_name, table_of
from headrace.connectors.postgres.connection import PostgresConnection, connected, fetch

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection

    from headrace.connectors.postgres.catalog import Table
    from headrace.connectors.postgres.load import PostgresLoad

_MODES = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)


class PostgresSource(PostgresConnection, Source):
    """Tables and views of one database; streams are named `schema.table`."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    summary: ClassVar[str] = "Tables and views of a PostgreSQL database, whole or from a cursor column on."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = _MODES
    inclusive_reads: ClassVar[bool] = True

    unbounded_numeric: str = Field(
        "text",
        pattern=r"^(text|decimal\(([1-9]|[12]\d|3[0-8]), ?([0-9]|[12]\d|3[0-8])\))$",
        description="How to read numerics without a precision: text, or decimal(p,s) which every value fits.",
    )

    def check(self) -> str:
        """Connect and count what can be read."""
        from headrace.connectors.postgres.catalog import tables

        with connected(self, Unreadable) as connection:
            return f"{_server(connection)} with {len(tables(connection))} readable tables and views."

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        return self.place()

    def streams(self) -> Sequence[Stream]:
        """Ask the catalog for every table and view that this user may read."""
        from headrace.connectors.postgres.catalog import tables

        with connected(self, Unreadable) as connection:
            return [_stream(table) for table in tables(connection)]

    def describe(self, stream: str) -> Stream:
        """Ask the catalog for one table; without a schema it is looked for in `public`."""
        from headrace.connectors.postgres.read import find_table

        with connected(self, Unreadable) as connection:
            return _stream(find_table(connection, stream))

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | Checkpoint]:
        """Yield the table from one snapshot; see `postgres_read.read_table`."""
        from headrace.connectors.postgres.read import read_table

        with connected(self, Unreadable) as connection:
            yield from read_table(connection, request, self.unbounded_numeric, self.limits)


class PostgresDestination(PostgresConnection, Destination):
    """Tables of one schema, loaded in one transaction each."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    summary: ClassVar[str] = "A table of a PostgreSQL database: replaced as one, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")

    schema_name: str = Field("public", alias="schema", min_length=1)
    table: str | None = Field(None, min_length=1, description="The stream's own name where none is given.")
    table_prefix: str = ""

    def check(self) -> str:
        """Connect, and see that the schema may be written to or made."""
        with connected(self, Rejected) as connection:
            ((allowed,),) = fetch(
                connection,
                "SELECT CASE WHEN to_regnamespace(quote_ident($1)) IS NULL"
                " THEN has_database_privilege(current_database(), 'CREATE')"
                " ELSE has_schema_privilege(to_regnamespace(quote_ident($1)), 'USAGE')"
                " AND has_schema_privilege(to_regnamespace(quote_ident($1)), 'CREATE') END",
                self.schema_name,
            )
            if not allowed:
                raise Unauthorized(f"The user may not create tables in schema {self.schema_name!r}.")
            return f"{_server(connection)}; schema {self.schema_name!r} can be written to."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        table = table_of(self.table_prefix, self.table, stream)
        return self.place() | {"system": "postgres", "schema": self.schema_name, "table": table}

    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output in one transaction."""
        with self._prepared(request) as load:
            return load.run()

    def advance(self, request: LoadRequest) -> bool:
        """Note a run that found nothing new."""
        with self._prepared(request) as load:
            return load.advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what was last committed for the pipeline to this schema."""
        from headrace.connectors.postgres.loads import PostgresLedger

        with connected(self, Rejected) as connection:
            return PostgresLedger(connection=connection, schema=self.schema_name).last(pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[PostgresLoad]:
        from headrace.connectors.postgres.load import PostgresLoad

        table = table_name(self.table_prefix, self.table, request)
        with connected(self, Rejected) as connection:
            yield PostgresLoad(
                request=request,
                table=table,
                connection=connection,
                schema=self.schema_name,
                limits=self.limits,
            )


def _server(connection: Connection) -> str:
    ((database, version),) = fetch(
        connection, "SELECT current_database()::text, current_setting('server_version')"
    )
    return f"PostgreSQL {version}, database {database!r}"


def _stream(table: Table) -> Stream:
    return Stream(
        name=table.stream, description=table.comment, sync_modes=_MODES, primary_key=table.primary_key
    )
