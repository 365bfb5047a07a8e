"""CSV, JSON lines and Parquet files: local ones by path or pattern, others by URL."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from headrace.connectors.base import ReadRequest, Source, Stream, Unreadable

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "jsonl", "parquet"]
_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_BYTES_BETWEEN_CHECKS = 16 * 1024 * 1024


class FilesSource(Source):
    """Files that hold one table together; the stream's name becomes the table's."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    summary: ClassVar[str] = "CSV, JSON lines and Parquet files, local or by HTTP."
    dynamic_streams: ClassVar[bool] = True
    address_fields: ClassVar[tuple[str, ...]] = ("paths",)

    paths: tuple[str, ...] = Field(
        min_length=1, description="Paths, patterns such as /data/*.csv.gz, and http or https URLs."
    )
    format: Format | None = Field(None, description="Of all files; absent: by each name's ending.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between a CSV file's fields.")
    headers: dict[str, SecretStr] = Field({}, description="Headers to send with each HTTP request.")

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("paths")
    @classmethod
    def _refuse_other_schemes(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if "://" in path and not _is_url(path):
                raise PydanticCustomError("scheme_unsupported", "Only http and https URLs can be read.")
            if _is_url(path) and "@" in urlsplit(path).netloc:
                raise PydanticCustomError("url_credentials", "Put credentials into `headers`, not the URL.")
        return paths

    def check(self) -> str:
        """Look for the local files. Raises Unreadable when a pattern matches none."""
        files = list(self._local_files())
        urls = sum(map(_is_url, self.paths))
        return f"Found {len(files)} local files; {urls} URLs are fetched by a run."

    def describe(self, stream: str) -> Stream:
        """The files are one stream, under whatever name it is asked for."""
        return Stream(name=stream)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | list[dict[str, Any]]]:
        """Yield the files' rows, in the order of `paths` and of names; an empty batch while fetching."""
        from headrace.connectors import file_formats

        for name, path in self._located(request):
            if path is None:
                yield []
                continue
            request.log.info("Reading %s", name)
            yield from file_formats.read(path, self._format_of(name), self.delimiter)

    def _located(self, request: ReadRequest) -> Iterator[tuple[str, Path | None]]:
        """Yield each file with its name for people; no file while one is being fetched."""
        from headrace.connectors.network import download

        for path in self.paths:
            if not _is_url(path):
                yield from ((str(file), file) for file in self._matches(path))
                continue
            name = urlsplit(path).path
            request.log.info("Fetching %s", name)
            with tempfile.NamedTemporaryFile(prefix="headrace-") as file:
                due = _BYTES_BETWEEN_CHECKS
                for size in download(path, self._headers(), file.file):
                    if size >= due:
                        due = size + _BYTES_BETWEEN_CHECKS
                        yield name, None
                file.flush()
                yield name, Path(file.name)

    def _headers(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self.headers.items()}

    def _local_files(self) -> Iterator[Path]:
        for path in self.paths:
            if not _is_url(path):
                yield from self._matches(path)

    @staticmethod
    def _matches(pattern: str) -> list[Path]:
        expanded = str(Path(pattern).expanduser())
        found = sorted(Path(name) for name in glob.glob(expanded, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        files = [file for file in found if file.is_file()]
        if not files:
            raise Unreadable(f"No file matches {pattern}.")
        return files

    def _format_of(self, name: str) -> Format:
        endings = [ending.lower() for ending in Path(name).suffixes if ending.lower() not in (".gz", ".gzip")]
        found = self.format or _ENDINGS.get(endings[-1] if endings else "")
        if found is None:
            raise Unreadable(f"The format of {name} cannot be told by its ending: name it with `format`.")
        return found


def _is_url(path: str) -> bool:
    return path.lower().startswith(("http://", "https://"))
