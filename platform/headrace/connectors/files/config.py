"""The configuration of files as a source."""

from __future__ import annotations

import codecs
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Section
from headrace.connectors.kit.network.limits import TransferLimits
from headrace.connectors.kit.stores.config import Storage, is_store_url, storage_for


def is_url(path: str) -> bool:
    """Whether a path is fetched by HTTP."""
    return path.lower().startswith(("http://", "https://"))


class FilesConfig(Section):
    """Which files, and how they are to be understood."""

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
    partition_columns: bool = Field(
        True, description="Whether folders such as country=DE, below a pattern's fixed part, are columns."
    )
    infer_types: bool = Field(True, description="False: every CSV column is text, and files are read once.")
    file_column: str | None = Field(
        None, min_length=1, max_length=200, description="Column to add, with the file that a row is from."
    )
    primary_key: tuple[str, ...] = Field((), description="Columns that identify a row, to merge on.")
    lookback_seconds: int = Field(
        3600,
        ge=0,
        description="How far behind the newest file read older ones are told apart by name, however many.",
    )
    headers: dict[str, SecretStr] = Field({}, description="Headers to send with each HTTP request.")
    storage: Storage | None = Field(
        None, description="The object store of s3://, gs:// and az:// paths, and the credentials for it."
    )
    limits: TransferLimits = TransferLimits()

    @field_validator("paths", "primary_key", mode="before")
    @classmethod
    def _one_text_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("paths")
    @classmethod
    def _refuse_other_schemes(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        for path in paths:
            if "://" in path and not (is_url(path) or is_store_url(path)):
                raise PydanticCustomError(
                    "scheme_unsupported", "URLs begin with http, https, s3, gs or az; local paths with none."
                )
            if is_url(path) and "@" in urlsplit(path).netloc:
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
    def _require_fitting_storage(self) -> FilesConfig:
        storage_for(list(self.paths), self.storage)
        return self
