"""Files as a source: local ones, by HTTP and in object stores."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Checkpoint, ReadRequest, Source, Stream, SyncMode, Unreadable
from headrace.connectors.files.position import Position
from headrace.connectors.kit.stores.config import Storage, is_store_url, storage_for, store_url

if TYPE_CHECKING:
    import pyarrow as pa

    from headrace.connectors.files.found import Found, Place
    from headrace.connectors.kit.stores.object_store import ObjectStore

    Rows: TypeAlias = pa.RecordBatch | Sequence[dict[str, Any]]


class FilesSource(Source):
    """Files that hold one table together; the stream's name becomes the table's."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    summary: ClassVar[str] = "CSV, JSON, Parquet and Arrow files: local, by HTTP, in S3, GCS and Azure."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    address_fields: ClassVar[tuple[str, ...]] = ("paths",)

    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Paths, patterns such as /data/**/*.csv.gz or s3://bucket/*.parquet, and http URLs.",
    )
    format: Literal["csv", "jsonl", "json", "parquet", "arrow"] | None = Field(
        None, description="Of all files; absent: by each name's ending."
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="Between a CSV file's fields; a comma, or in .tsv a tab.",
    )
    encoding: str = Field("utf-8", description="Of CSV files' text.")
    header: bool = Field(True, description="Whether the first row of a CSV file names its columns.")
    column_names: tuple[str, ...] = Field(
        (), description="Names of a CSV file's columns, in place of those of its header."
    )
    infer_types: bool = Field(True, description="False: every CSV column is text, and files are read once.")
    file_column: str | None = Field(
        None, min_length=1, max_length=200, description="Column to add, with the file that a row is from."
    )
    primary_key: tuple[str, ...] = Field((), description="Columns that identify a row, to merge on.")
    lookback_seconds: int = Field(
        3600,
        ge=0,
        description="Time after which no file appears with an older time than the newest one read.",
    )
    headers: dict[str, SecretStr] = Field({}, description="Headers to send with each HTTP request.")
    storage: Storage | None = Field(
        None, description="The object store of s3://, gs:// and az:// paths, and the credentials for it."
    )

    @field_validator("paths", "primary_key", mode="before")
    @classmethod
    def _one_text_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("paths")
    @classmethod
    def _refuse_other_schemes(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if "://" in path and not (_is_url(path) or is_store_url(path)):
                raise PydanticCustomError(
                    "scheme_unsupported", "URLs begin with http, https, s3, gs or az; local paths with none."
                )
            if _is_url(path) and "@" in urlsplit(path).netloc:
                raise PydanticCustomError("url_credentials", "Put credentials into `headers`, not the URL.")
        return paths

    @field_validator("column_names")
    @classmethod
    def _require_names_of_their_own(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(names) or len(set(names)) < len(names):
            raise PydanticCustomError("repeated", "Each column needs a name, and one of its own.")
        return names

    @field_validator("encoding")
    @classmethod
    def _require_known_encoding(cls, encoding: str) -> str:
        try:
            return codecs.lookup(encoding).name
        except LookupError:
            raise PydanticCustomError("encoding_unknown", "There is no such encoding.") from None

    @model_validator(mode="after")
    def _require_fitting_storage(self) -> FilesSource:
        storage_for(list(self.paths), self.storage)
        return self

    def check(self) -> str:
        """Look for the files. Raises Unreadable when a path or a pattern matches none."""
        with self._places() as places:
            found = sum(len(list(_matches(path, place))) for path, place in places if not _is_url(path))
        urls = sum(map(_is_url, self.paths))
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
        incremental = request.sync_mode is SyncMode.INCREMENTAL
        position = Position(request.cursor, timedelta(seconds=self.lookback_seconds))
        with self._places() as places:
            for found in self._due(places, position if incremental else None):
                request.log.info("Reading %s", found.name)
                request.check()
                yield from self._rows(found, request)
                if incremental:
                    position.add(found.name, found.modified)
                    yield Checkpoint(cursor=position.cursor)

    def _due(self, places: list[tuple[str, Place]], position: Position | None) -> list[Found]:
        found: dict[str, Found] = {}  # two patterns may match the same file
        for path, place in places:
            for one in _matches(path, place, with_times=position is not None):
                found.setdefault(one.name, one)
        if position is None:
            return list(found.values())
        new = [one for one in found.values() if position.is_new(one.name, one.modified)]
        return sorted(new, key=lambda one: (one.modified, one.name))

    def _rows(self, found: Found, request: ReadRequest) -> Iterator[Rows]:
        from headrace.connectors.files import formats
        from headrace.connectors.files.csv import Dialect

        kind = self.format or formats.format_of(found.name)
        if kind is None:
            raise Unreadable(
                f"The format of {found.name} cannot be told by its ending: name it with `format`."
            )
        is_tabbed = any(part.lower() == "tsv" for part in found.name.split(".")[-2:])
        dialect = Dialect(
            delimiter=self.delimiter or ("\t" if is_tabbed else ","),
            encoding=self.encoding,
            infer_types=self.infer_types,
            header=self.header,
            names=self.column_names,
        )
        with found.opened(request.check) as path:
            for rows in formats.read(path, kind, dialect, request.warn):
                yield formats.with_column(rows, self.file_column, found.name)

    @contextmanager
    def _places(self) -> Iterator[list[tuple[str, Place]]]:
        """What each path stands for, while the object store that some of them name is open."""
        from headrace.connectors.files.found import LocalPlace, StorePlace, WebPlace
        from headrace.connectors.kit.stores import object_store

        storage = storage_for(list(self.paths), self.storage)
        buckets: dict[str, ObjectStore] = {}
        places: list[tuple[str, Place]] = []
        with ExitStack() as stack:
            for path in self.paths:
                if _is_url(path):
                    places.append((path, WebPlace(path, self._headers())))
                elif is_store_url(path):
                    assert storage is not None
                    url = store_url(path)
                    if url.bucket not in buckets:
                        buckets[url.bucket] = stack.enter_context(object_store.opened(storage, url.bucket))
                    places.append((path, StorePlace(url, buckets[url.bucket])))
                else:
                    places.append((path, LocalPlace(path)))
            yield places

    def _headers(self) -> dict[str, str]:
        return {name: value.get_secret_value() for name, value in self.headers.items()}


def _matches(path: str, place: Place, *, with_times: bool = True) -> Iterator[Found]:
    is_any = False
    for found in place.find(with_times=with_times):
        is_any = True
        yield found
    if not is_any:
        raise Unreadable(f"No file matches {path}.")


def _is_url(path: str) -> bool:
    return path.lower().startswith(("http://", "https://"))
