"""The configuration of BigQuery."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from headrace.connectors import Section
from headrace.connectors.kit.network.limits import WarehouseLimits
from headrace.connectors.kit.stores.google_key import ServiceAccountKey

_PLACE = r"^[A-Za-z0-9_:.-]+$"
_TABLE = r"^[\w -]+$"


class ServiceAccount(Section):
    """A service account's key file; without it the machine's own identity (ADC) is used."""

    service_account_key: ServiceAccountKey = Field(
        description="The key file's JSON, as text or as an object."
    )


class TimePartitioning(Section):
    """How a new table is partitioned by time."""

    type: Literal["HOUR", "DAY", "MONTH", "YEAR"] = "DAY"
    field: str | None = Field(None, min_length=1, description="A date or time; absent: the time of loading.")


class BigQueryConfig(Section):
    """One dataset, and how its tables are made."""

    address_fields: ClassVar[tuple[str, ...]] = ("project_id", "api_endpoint")

    project_id: str = Field(pattern=_PLACE)
    dataset_id: str = Field(
        pattern=r"^\w+$",
        validation_alias=AliasChoices("dataset_id", "dataset"),
        description="Made in dataset_location when it is missing.",
    )
    table_id: str | None = Field(
        None, pattern=_TABLE, description="The stream's own name where none is given."
    )
    dataset_location: str = Field("US", min_length=1)
    table_prefix: str = Field("", pattern=r"^[\w -]*$")
    time_partitioning: TimePartitioning | None = None
    clustering: Annotated[tuple[str, ...], Field(max_length=4)] = Field(
        (), description="Columns that a new table is clustered by, the most important first."
    )
    authentication: ServiceAccount | None = None
    api_endpoint: str = Field(
        "https://bigquery.googleapis.com", pattern=r"^https?://[^/@\s]+/?$", description="Where the API is."
    )
    limits: WarehouseLimits = WarehouseLimits()
    gcs_buffer_bucket: str | None = Field(None, description="Accepted, not needed: files are uploaded.")
    gcs_buffer_format: Literal["parquet", "csv"] = Field("parquet", description="Accepted, not needed.")
