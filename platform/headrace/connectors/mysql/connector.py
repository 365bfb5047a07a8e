"""MySQL and MariaDB, as a source and as a destination."""

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
    Unreadable,
)
from headrace.connectors.kit.sql.loads import table_name, table_of
from headrace.connectors.mysql.connection import MySQLConnection, connected, fetch

if TYPE_CHECKING:
    import pyarrow as pa
    from pymysql.connections import Connection

    from headrace.connectors.mysql.catalog import Table
    from headrace.connectors.mysql.load import MySQLLoad

_MODES = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)


class MySQLSource(MySQLConnection, Source):
    """Tables and views of one database, under their own names."""

    name: ClassVar[str] = "mysql"
    title: ClassVar[str] = "MySQL"
    summary: ClassVar[str] = "Tables and views of a MySQL or MariaDB database, whole or from a cursor on."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = _MODES
    inclusive_reads: ClassVar[bool] = True

    def check(self) -> str:
        """Connect and count what can be read."""
        from headrace.connectors.mysql.catalog import tables

        with connected(self, Unreadable) as connection:
            return f"{_server(connection)} with {len(tables(connection))} readable tables and views."

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        return self.place()

    def streams(self) -> Sequence[Stream]:
        """Ask the catalog for every table and view that this user may see."""
        from headrace.connectors.mysql.catalog import tables

        with connected(self, Unreadable) as connection:
            return [_stream(table) for table in tables(connection)]

    def describe(self, stream: str) -> Stream:
        """Ask the catalog for one table."""
        with connected(self, Unreadable) as connection:
            from headrace.connectors.mysql.read import find_table

            return _stream(find_table(connection, stream))

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | Checkpoint]:
        """Yield the table from one snapshot; see `mysql_read.read_table`."""
        with connected(self, Unreadable) as connection:
            from headrace.connectors.mysql.read import read_table

            yield from read_table(connection, request)


class MySQLDestination(MySQLConnection, Destination):
    """Tables of one database."""

    name: ClassVar[str] = "mysql"
    title: ClassVar[str] = "MySQL"
    summary: ClassVar[str] = "A table of a MySQL or MariaDB database: replaced, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")

    table: str | None = Field(None, min_length=1, description="The stream's own name where none is given.")
    table_prefix: str = ""

    def check(self) -> str:
        """Connect, and make and drop a table that only this session sees."""
        from headrace.connectors.mysql.connection import execute

        with connected(self, Rejected) as connection:
            execute(connection, "CREATE TEMPORARY TABLE _headrace_check (id INT)")
            return f"{_server(connection)}; tables can be made."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        table = table_of(self.table_prefix, self.table, stream).lower()
        return self.place() | {"system": "mysql", "table": table}

    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output."""
        with self._prepared(request) as load:
            return load.run()

    def advance(self, request: LoadRequest) -> bool:
        """Note a run that found nothing new."""
        with self._prepared(request) as load:
            return load.advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what was last committed for the pipeline to this database."""
        from headrace.connectors.mysql.loads import MySQLLedger

        with connected(self, Rejected) as connection:
            return MySQLLedger(connection=connection).last(pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[MySQLLoad]:
        from headrace.connectors.mysql.load import MySQLLoad

        table = table_name(self.table_prefix, self.table, request)
        name = f"headrace run {request.load_id} fence {request.fence}"
        with connected(self, Rejected, name) as connection:
            yield MySQLLoad(
                request=request,
                table=table,
                connection=connection,
                database=self.database,
                limits=self.limits,
            )


def _server(connection: Connection) -> str:
    ((version, database),) = fetch(connection, "SELECT VERSION(), DATABASE()")
    product = "MariaDB" if "MariaDB" in version else "MySQL"
    return f"{product} {version.partition('-')[0]}, database {database!r}"


def _stream(table: Table) -> Stream:
    return Stream(
        name=table.name, description=table.comment, sync_modes=_MODES, primary_key=table.primary_key
    )
