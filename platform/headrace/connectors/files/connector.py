"""Files as a source: local ones, by HTTP and in object stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, SyncMode
from headrace.connectors.files.config import FilesConfig, is_url

if TYPE_CHECKING:
    import pyarrow as pa

    Rows: TypeAlias = pa.RecordBatch | Sequence[dict[str, Any]]


class FilesSource(FilesConfig, Source):
    """Files that hold one table together; the stream's name becomes the table's."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    summary: ClassVar[str] = "CSV, JSON, Parquet and Arrow files: local, by HTTP, in S3, GCS and Azure."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    address_fields: ClassVar[tuple[str, ...]] = ("paths",)

    def check(self) -> str:
        """Look for the files. Raises Unreadable when a path or a pattern matches none."""
        from headrace.connectors.files.places import matches, opened_places

        with opened_places(self) as places:
            found = sum(len(list(matches(path, place))) for path, place in places if not is_url(path))
        urls = sum(map(is_url, self.paths))
        return f"Found {found} files; {urls} URLs are fetched by a run."

    def declared(self, stream: str) -> Stream:
        """The files are one stream, under whatever name it is asked for."""
        return Stream(
            name=stream, sync_modes=self.dynamic_sync_modes, primary_key=self.primary_key, checkpointed=True
        )

    def describe(self, stream: str) -> Stream:
        """The same: what is in the files does not change it."""
        return self.declared(stream)

    def read(self, request: ReadRequest) -> Iterator[Rows | Checkpoint]:
        """Yield the files' rows: in the order of `paths` and names, or of their times when incremental.

        An incremental read yields a checkpoint after each file. Raises FileChanged where one was not the same
        from its first byte to its last.
        """
        from headrace.connectors.files.read import read

        return read(self, request)
