"""A file on the worker's machine, replaced as one."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

from pydantic import AliasChoices, Field

from headrace.connectors.base import (
    Destination,
    LoadRequest,
    LoadResult,
    Output,
    Rejected,
    WriteDisposition,
)
from headrace.connectors.rendering import flat, json_lines


class FileDestination(Destination):
    """One file a stream: Parquet, JSON lines or CSV."""

    name: ClassVar[str] = "file"
    title: ClassVar[str] = "File"
    summary: ClassVar[str] = "A Parquet, JSON lines or CSV file on the worker's machine."
    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace",)

    path: str = Field(".", min_length=1, description="Folder of the file; made when it is missing.")
    format: Literal["parquet", "jsonl", "csv"] = Field("parquet", description="How the rows are written.")
    file_name: str | None = Field(
        None,
        pattern=r"^[\w][\w. -]*$",
        max_length=200,
        description="Name without its ending; the stream's name when absent.",
        validation_alias=AliasChoices("file_name", "destination_id"),
    )

    def check(self) -> str:
        """Say where files will be written. Raises Rejected when the folder cannot be written to."""
        folder = self._folder()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise Rejected(f"The folder {folder} cannot be written to.")
        return f"Files are written into {folder}."

    def load(self, request: LoadRequest) -> LoadResult:
        """Write the file beside its final name, then rename it over what was there."""
        target = self._folder() / f"{self.file_name or _safe(request.table)}.{self.format}"
        unfinished = target.with_name(f".{target.name}.{_safe(request.load_id)}.unfinished")
        try:
            with unfinished.open("wb") as file:
                _WRITERS[self.format](request.output, file)
                file.flush()
                os.fsync(file.fileno())
            request.before_commit()
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return LoadResult(rows=request.output.rows, location=str(target))

    def _folder(self) -> Path:
        folder = Path(self.path).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Rejected(f"The folder {folder} cannot be made: {error.strerror}.") from None
        return folder


def _write_parquet(output: Output, file: BinaryIO) -> None:
    with output.path.open("rb") as source:
        shutil.copyfileobj(source, file, 1024 * 1024)


def _write_json_lines(output: Output, file: BinaryIO) -> None:
    for batch in output.batches():
        file.write(json_lines(batch))


def _write_csv(output: Output, file: BinaryIO) -> None:
    import pyarrow as pa
    from pyarrow import csv

    empty = pa.RecordBatch.from_pylist([], schema=output.schema)
    if not output.schema.names:
        return
    with csv.CSVWriter(file, flat(empty).schema) as writer:
        for batch in output.batches():
            writer.write_batch(flat(batch))


_WRITERS = {"parquet": _write_parquet, "jsonl": _write_json_lines, "csv": _write_csv}


def _safe(name: str) -> str:
    """A name that stays inside its folder, for whatever a stream or a run is called."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".")[:150] or "stream"
