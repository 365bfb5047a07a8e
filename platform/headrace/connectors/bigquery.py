"""Google BigQuery, as a destination: load jobs from the run's Parquet file, with Google's own client."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field

from headrace.connectors.base import Destination, Loaded, LoadRequest, LoadResult, SchemaContract, Section
from headrace.connectors.google_key import ServiceAccountKey
from headrace.connectors.sql_loads import table_name

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


class BigQueryDestination(Destination):
    """Tables of one BigQuery dataset."""

    name: ClassVar[str] = "bigquery"
    title: ClassVar[str] = "Google BigQuery"
    summary: ClassVar[str] = "A table of a BigQuery dataset: replaced as one, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")
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
    gcs_buffer_bucket: str | None = Field(None, description="Accepted, not needed: files are uploaded.")
    gcs_buffer_format: Literal["parquet", "csv"] = Field("parquet", description="Accepted, not needed.")

    def check(self) -> str:
        """Look for the dataset. Raises ConnectorError when the API or the credentials say no."""
        from headrace.connectors.bigquery_connection import connected, find_dataset

        with connected(self) as client:
            dataset = find_dataset(client, self)
        where = f"Dataset {self.project_id}.{self.dataset_id}"
        if dataset is None:
            return f"{where} will be made in {self.dataset_location}."
        return f"{where} is in {dataset.location}."

    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output by way of a staging table; see `bigquery_load.load`."""
        from headrace.connectors.bigquery_connection import connected
        from headrace.connectors.bigquery_load import load

        table = table_name(self.table_prefix, self.table_id, request)
        with connected(self) as client:
            load(client, self, table, request)
        location = f"bigquery: {self.project_id}.{self.dataset_id}.{table}"
        return LoadResult(rows=request.output.rows, location=location)

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what was last committed for the pipeline to this dataset."""
        from headrace.connectors.bigquery_connection import connected
        from headrace.connectors.bigquery_loads import last_load

        with connected(self) as client:
            return last_load(client, self, pipeline_id)


class BigQueryStreamingDestination(BigQueryDestination):
    """The same tables, for configurations written for the streaming API: they are loaded by load jobs, too.

    A load job publishes a run as one, which rows sent to the streaming API cannot.
    """

    name: ClassVar[str] = "bigquery_streaming"
    title: ClassVar[str] = "Google BigQuery (streaming configuration)"

    bq_max_rows_per_request: int | None = Field(None, ge=1, description="Accepted, not needed.")


class BigQueryStreamingV2Destination(BigQueryStreamingDestination):
    """The same for configurations of the Storage Write API."""

    name: ClassVar[str] = "bigquery_streaming_v2"
    title: ClassVar[str] = "Google BigQuery (storage write configuration)"
