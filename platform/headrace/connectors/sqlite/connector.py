"""SQLite files, as a source and as a destination."""

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
from headrace.connectors.kit.sql.loads import table_name, table_of
from headrace.connectors.sqlite.connection import SQLiteConnection, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.sqlite.load import SQLiteLoad

_MODES = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)


class SQLiteSource(SQLiteConnection, Source):
    """Tables and views of one file, under their own names."""

    name: ClassVar[str] = "sqlite"
    title: ClassVar[str] = "SQLite"
    summary: ClassVar[str] = "Tables and views of a SQLite file, whole or from a cursor column on."
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
        from headrace.connectors.sqlite.read import columns, names

        with opened(self, Unreadable, read_only=True) as connection:
            return [
                Stream(
                    name=name,
                    sync_modes=_MODES,
                    primary_key=tuple(
                        column.name
                        for column in sorted(columns(connection, name), key=lambda column: column.key)
                        if column.key
                    ),
                )
                for name in names(connection)
            ]

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | Checkpoint]:
        """Yield the table from one snapshot; see `sqlite_read.read_table`."""
        from headrace.connectors.sqlite.read import read_table

        with opened(self, Unreadable, read_only=True) as connection:
            yield from read_table(connection, request)


class SQLiteDestination(SQLiteConnection, Destination):
    """Tables of one file."""

    name: ClassVar[str] = "sqlite"
    title: ClassVar[str] = "SQLite"
    summary: ClassVar[str] = "A table of a SQLite file: replaced as one, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")

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
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        return f"{self.path} can be written to."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by the server or file that it is in."""
        table = table_of(self.table_prefix, self.table, stream).lower()
        return self.place() | {"system": "sqlite", "table": table}

    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output in one transaction."""
        with self._prepared(request) as load:
            return load.run()

    def advance(self, request: LoadRequest) -> bool:
        """Note a run that found nothing new."""
        with self._prepared(request) as load:
            return load.advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what was last committed for the pipeline to this file."""
        from headrace.connectors.sqlite.loads import SQLiteLedger

        if not self.file().exists():
            return None
        with opened(self, Rejected, read_only=True) as connection:
            return SQLiteLedger(connection=connection).last(pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[SQLiteLoad]:
        from headrace.connectors.sqlite.load import SQLiteLoad

        table = table_name(self.table_prefix, self.table, request)
        with opened(self, Rejected, read_only=False) as connection:
            yield SQLiteLoad(request=request, table=table, connection=connection, path=self.path)
