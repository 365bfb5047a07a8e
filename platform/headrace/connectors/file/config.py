"""The configuration of files as a destination."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.network.limits import TransferLimits
from headrace.connectors.kit.stores.config import Storage, is_store_url, storage_for, store_url


class FileConfig(Section):
    """Where the files go, their format and names."""

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
    limits: TransferLimits = TransferLimits()

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
    def _require_fitting_storage(self) -> FileConfig:
        if "://" in self.path and not is_store_url(self.path):
            raise PydanticCustomError("scheme_unsupported", "A URL begins with s3, gs or az.")
        storage_for([self.path], self.storage)
        if is_store_url(self.path) and set(store_url(self.path).key) & set("*?["):
            raise PydanticCustomError("store_url", "The folder to write to is no pattern.")
        return self
