"""Files as a destination: on the worker's machine or in an object store."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors.base import Destination, Loaded, LoadRequest, LoadResult, WriteDisposition
from headrace.connectors.storage import Storage, is_store_url, storage_for, store_url


class FileDestination(Destination):
    """Parquet, JSON lines or CSV: one file for a stream that is replaced, a folder for one that grows."""

    name: ClassVar[str] = "file"
    title: ClassVar[str] = "File"
    summary: ClassVar[str] = "Parquet, JSON lines or CSV files: local, in S3, GCS and Azure; partitioned."
    dispositions: ClassVar[tuple[WriteDisposition, ...]] = ("replace", "append")

    path: str = Field(
        ".",
        min_length=1,
        description="Folder of the files, made when it is missing; or s3://bucket/folder, gs://..., az://...",
    )
    format: Literal["parquet", "jsonl", "csv"] = Field("parquet", description="How the rows are written.")
    file_name: str | None = Field(
        None,
        pattern=r"^[\w][\w. -]*$",
        max_length=200,
        description="Name without its ending; the stream's name when absent.",
        validation_alias=AliasChoices("file_name", "destination_id"),
    )
    partition_by: tuple[str, ...] = Field(
        (), max_length=5, description="Columns whose values name folders, as in country=DE/day=2024-01-31."
    )
    storage: Storage | None = Field(
        None, description="The object store that `path` is in, and the credentials for it."
    )

    @field_validator("partition_by", mode="before")
    @classmethod
    def _one_text_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("partition_by")
    @classmethod
    def _no_column_twice(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) < len(columns):
            raise PydanticCustomError("repeated", "A column is named twice.")
        return columns

    @model_validator(mode="after")
    def _require_fitting_storage(self) -> FileDestination:
        if "://" in self.path and not is_store_url(self.path):
            raise PydanticCustomError("scheme_unsupported", "A URL begins with s3, gs or az.")
        storage_for([self.path], self.storage)
        if is_store_url(self.path) and set(store_url(self.path).key) & set("*?["):
            raise PydanticCustomError("store_url", "The folder to write to is no pattern.")
        return self

    def check(self) -> str:
        """Say where files will be written. Raises ConnectorError when the folder or bucket cannot be used."""
        from headrace.connectors.file_folder import opened

        with opened(self.path, storage_for([self.path], self.storage)) as folder:
            folder.check()
            return f"Files are written into {folder.location('').rstrip('/')}."

    def load(self, request: LoadRequest) -> LoadResult:
        """Replace the stream's file, or add to its folder; see `file_load`."""
        from headrace.connectors.file_folder import opened
        from headrace.connectors.file_load import load

        with opened(self.path, storage_for([self.path], self.storage)) as folder:
            return load(folder, self, request)

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what the record of the pipeline's folder holds; a single file has none."""
        from headrace.connectors.file_folder import opened
        from headrace.connectors.file_load import last_load

        with opened(self.path, storage_for([self.path], self.storage)) as folder:
            return last_load(folder, pipeline_id)
