"""Files as a destination: on the worker's machine or in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors import Destination, Loaded, LoadRequest, LoadResult, WriteDisposition, plain_values
from headrace.connectors.file.config import FileConfig
from headrace.connectors.kit.local_paths import local_path

if TYPE_CHECKING:
    from headrace.connectors.kit.loading.load import Load


class FileDestination(FileConfig, Destination):
    """Parquet, JSON lines or CSV: one file for a stream that is replaced, a folder for one that grows."""

    name: ClassVar[str] = "file"
    title: ClassVar[str] = "File"
    summary: ClassVar[str] = "Parquet, JSON lines or CSV files: local, in S3, GCS and Azure; partitioned."
    is_target_checked_early: ClassVar[bool] = False
    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace", "append")

    def check(self) -> str:
        """Say where files will be written. Raises ConnectorError when the folder or bucket cannot be used."""
        from headrace.connectors.file.folder import opened

        with opened(self) as folder:
            folder.check()
            return f"Files are written into {folder.location('').rstrip('/')}."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the file, or the folder of files."""
        is_local = "://" not in self.path
        folder = str(local_path(self.path).resolve()) if is_local else self.path.rstrip("/")
        store = plain_values(self.storage, self.storage.address_fields) if self.storage else None
        name = self.file_name or stream
        return {"system": "file", "folder": folder, "store": store, "name": name, "format": self.format}

    def load(self, request: LoadRequest) -> LoadResult:
        """Replace the stream's file, or add to its folder."""
        with self._prepared(request) as load:
            return load.run()

    def advance(self, request: LoadRequest) -> bool:
        """Note a run that found nothing new."""
        with self._prepared(request) as load:
            return load.advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what the record of the pipeline's folder holds; a single file has none."""
        from headrace.connectors.file.folder import opened
        from headrace.connectors.file.load import last_load

        with opened(self) as folder:
            return last_load(folder, pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[Load]:
        from headrace.connectors.file.folder import opened
        from headrace.connectors.file.load import load_for

        with opened(self) as folder:
            yield load_for(folder, self, request)
