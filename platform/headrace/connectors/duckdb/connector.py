"""DuckDB files, as a source and as a destination."""

from __future__ import annotations

import os
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
    Unreachable,
    Unreadable,
)
from headrace.connectors.duckdb.connection import DuckDBConnection, opened
from headrace.connectors.kit.sql.loads import table_name, table_of

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.duckdb.load import DuckDBLoad

_MODES = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)


class DuckDBSource(DuckDBConnection, Source):
    """Tables and views of one file; streams are named `schema.table`."""

    name: ClassVar[str] = "duckdb"
    title: ClassVar[str] = "DuckDB"
    summary: ClassVar[str] = "Tables and views of a DuckDB file, whole or from a cursor column on."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = _MODES
    inclusive_reads: ClassVar[bool] = True

    def check(self) -> str:
        """Open the file and count what can be read."""
        return f"{self.path} with {len(self.streams())} tables and views."

    def origin(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        return self.place()

    def streams(self) -> Sequence[Stream]:
        """List every table and view of the file."""
        from headrace.connectors.duckdb.read import relations

        with opened(self, Unreadable, read_only=True) as connection:
            return [
                Stream(name=f"{relation.schema}.{relation.name}", sync_modes=_MODES, primary_key=relation.key)
                for relation in relations(connection)
            ]

    def describe(self, stream: str) -> Stream:
        """Return one table's key; without a schema it is looked for in `main`."""
        from headrace.connectors.duckdb.read import find_relation

        with opened(self, Unreadable, read_only=True) as connection:
            relation = find_relation(connection, stream)
        return Stream(name=f"{relation.schema}.{relation.name}", sync_modes=_MODES, primary_key=relation.key)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | Checkpoint]:
        """Yield the table from one snapshot; see `duckdb_read.read_table`."""
        from headrace.connectors.duckdb.read import read_table

        with opened(self, Unreadable, read_only=True) as connection:
            yield from read_table(connection, request)


class DuckDBDestination(DuckDBConnection, Destination):
    """Tables of one schema of a file, loaded by DuckDB itself from the output."""

    name: ClassVar[str] = "duckdb"
    title: ClassVar[str] = "DuckDB"
    summary: ClassVar[str] = "A table of a DuckDB file: replaced as one, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")

    schema_name: str = Field("main", alias="schema", min_length=1)
    table: str | None = Field(None, min_length=1, description="The stream's own name where none is given.")
    table_prefix: str = ""

    def check(self) -> str:
        """Open the file, or see that it can be made."""
        if not self.file().exists():
            folder = self.file().parent
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                raise Unreachable(f"The folder {folder} is missing or cannot be written to.")
            return f"{self.path} will be made."
        with opened(self, Rejected, read_only=False) as connection:
            version = connection.execute("SELECT version()").fetchall()[0][0]
        return f"{self.path} can be written to by DuckDB {version}."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        table = table_of(self.table_prefix, self.table, stream).lower()
        return self.place() | {"system": "duckdb", "schema": self.schema_name.lower(), "table": table}

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
        from headrace.connectors.duckdb.loads import DuckDBLedger

        if not self.file().exists():
            return None
        with opened(self, Rejected, read_only=True) as connection:
            return DuckDBLedger(connection=connection, schema=self.schema_name).last(pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[DuckDBLoad]:
        from headrace.connectors.duckdb.load import DuckDBLoad

        table = table_name(self.table_prefix, self.table, request)
        with opened(self, Rejected, read_only=False) as connection:
            yield DuckDBLoad(
                request=request, table=table, connection=connection, path=self.path, schema=self.schema_name
            )
