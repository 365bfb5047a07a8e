"""Google BigQuery. The configuration is checked; loading is not available yet."""

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field, SecretStr

from headrace.connectors.base import Destination, LoadRequest, LoadResult, Section
from headrace.connectors.unavailable import NotYetAvailable


class ServiceAccount(Section):
    """A service account's key file, as its JSON text; without it the machine's own identity is used."""

    service_account_key: SecretStr


class TimePartitioning(Section):
    """How the table is partitioned."""

    type: Literal["HOUR", "DAY", "MONTH", "YEAR"] = "DAY"
    field: str | None = None


class BigQueryDestination(Destination):
    """Tables of one BigQuery dataset."""

    name: ClassVar[str] = "bigquery"
    title: ClassVar[str] = "Google BigQuery"
    summary: ClassVar[str] = "Tables of a BigQuery dataset."
    address_fields: ClassVar[tuple[str, ...]] = ("project_id",)

    project_id: str = Field(min_length=1)
    dataset_id: str = Field(min_length=1, validation_alias=AliasChoices("dataset_id", "dataset"))
    table_id: str | None = Field(None, min_length=1)
    dataset_location: str = "US"
    gcs_buffer_bucket: str | None = None
    gcs_buffer_format: Literal["parquet", "csv"] = "parquet"
    table_prefix: str = ""
    time_partitioning: TimePartitioning | None = None
    authentication: ServiceAccount | None = None

    def check(self) -> str:
        """Raise NotYetAvailable."""
        raise NotYetAvailable(self.title)

    def load(self, request: LoadRequest) -> LoadResult:
        """Raise NotYetAvailable."""
        raise NotYetAvailable(self.title)
