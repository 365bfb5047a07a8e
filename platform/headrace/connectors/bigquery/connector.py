"""Google BigQuery, as a destination: load jobs from the run's Parquet file, with Google's own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from headrace.connectors import Destination, Loaded, LoadRequest, LoadResult, SchemaContract
from headrace.connectors.bigquery.config import BigQueryConfig
from headrace.connectors.kit.sql.loads import table_name, table_of

if TYPE_CHECKING:
    from headrace.connectors.bigquery.load import BigQueryLoad


class BigQueryDestination(BigQueryConfig, Destination):
    """Tables of one BigQuery dataset."""

    name: ClassVar[str] = "bigquery"
    title: ClassVar[str] = "Google BigQuery"
    summary: ClassVar[str] = "A table of a BigQuery dataset: replaced as one, appended to, or merged into."
    schema_contracts: ClassVar[tuple[SchemaContract, ...]] = ("evolve", "freeze")

    def check(self) -> str:
        """Look for the dataset. Raises ConnectorError when the API or the credentials say no."""
        from headrace.connectors.bigquery.connection import connected, find_dataset

        with connected(self) as client:
            dataset = find_dataset(client, self)
        where = f"Dataset {self.project_id}.{self.dataset_id}"
        if dataset is None:
            return f"{where} will be made in {self.dataset_location}."
        return f"{where} is in {dataset.location}."

    def target(self, stream: str) -> dict[str, Any]:
        """Name the table by its project and dataset."""
        return {
            "system": "bigquery",
            "project": self.project_id,
            "dataset": self.dataset_id,
            "table": table_of(self.table_prefix, self.table_id, stream),
        }

    def load(self, request: LoadRequest) -> LoadResult:
        """Publish the output by way of a staging table."""
        with self._prepared(request) as load:
            return load.run()

    def advance(self, request: LoadRequest) -> bool:
        """Note a run that found nothing new."""
        with self._prepared(request) as load:
            return load.advance()

    def last_load(self, pipeline_id: str) -> Loaded | None:
        """Return what was last committed for the pipeline to this dataset."""
        from headrace.connectors.bigquery.connection import connected
        from headrace.connectors.bigquery.loads import BigQueryLedger

        with connected(self) as client:
            return BigQueryLedger(client=client, config=self).last(pipeline_id)

    @contextmanager
    def _prepared(self, request: LoadRequest) -> Iterator[BigQueryLoad]:
        from headrace.connectors.bigquery.connection import connected
        from headrace.connectors.bigquery.load import BigQueryLoad

        table = table_name(self.table_prefix, self.table_id, request)
        with connected(self) as client:
            yield BigQueryLoad(request=request, table=table, client=client, config=self)


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
