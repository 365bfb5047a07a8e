"""Jobs and tables that a load makes in BigQuery: uploads, copies, staging tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headrace.connectors import LoadRequest, Rejected
from headrace.connectors.bigquery.columns import ORDINAL, Column, write
from headrace.connectors.bigquery.connection import retry, table_reference

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, CopyJob, LoadJob, SchemaField, Table

    from headrace.connectors.bigquery.config import BigQueryConfig


def schema_of(columns: list[Column]) -> list[SchemaField]:
    from google.cloud.bigquery import SchemaField

    return [SchemaField(column.name, column.kind) for column in columns]


def create(client: Client, config: BigQueryConfig, name: str, schema: list[SchemaField]) -> Table:
    """Make a table as it is configured: partitioned, clustered."""
    from google.cloud.bigquery import Table, TimePartitioning

    table = Table(table_reference(config, name), schema=schema)
    names = {field.name for field in schema}
    if config.time_partitioning:
        by = config.time_partitioning
        _check_column(by.field, names, "time_partitioning.field")
        table.time_partitioning = TimePartitioning(type_=by.type, field=by.field)
    if config.clustering:
        for column in config.clustering:
            _check_column(column, names, "clustering")
        table.clustering_fields = list(config.clustering)
    return client.create_table(table, retry=retry(config))


def _check_column(name: str | None, names: set[str], key: str) -> None:
    if name is not None and name not in names:
        raise Rejected(f"The output has no column {name!r}, which {key} names.", context={"column": name})


@contextmanager
def output_file(columns: list[Column], request: LoadRequest, *, ordinal: bool) -> Iterator[Path]:
    """Yield the file to upload: the output itself, or one that is rewritten for BigQuery."""
    if not ordinal and all(column.unchanged for column in columns):
        yield request.output.path
        return
    if ordinal:
        _check_no_nulls(request)
    with tempfile.NamedTemporaryFile(prefix="headrace-", suffix=".parquet") as file:
        write(request.output, columns, Path(file.name), ordinal=ordinal)
        yield Path(file.name)


def _check_no_nulls(request: LoadRequest) -> None:
    for batch in request.output.batches():
        if any(batch.column(name).null_count for name in request.primary_key):
            raise Rejected(f"A row has no value in its primary key ({', '.join(request.primary_key)}).")


def upload(
    client: Client,
    config: BigQueryConfig,
    stage: str,
    path: Path,
    schema: list[SchemaField],
    *,
    ordinal: bool,
) -> int | None:
    """Append a file to a table; return how many rows BigQuery has read from it."""
    from google.cloud.bigquery import LoadJobConfig, SchemaField

    job_config = LoadJobConfig(
        source_format="PARQUET",
        write_disposition="WRITE_APPEND",
        schema=[*schema, SchemaField(ORDINAL, "INT64")] if ordinal else schema,
    )
    with path.open("rb") as file:

        def start(job_id: str) -> LoadJob:
            return client.load_table_from_file(
                file,
                table_reference(config, stage),
                rewind=True,
                size=path.stat().st_size,
                num_retries=config.limits.attempts - 1,
                job_id=job_id,
                location=config.dataset_location,
                job_config=job_config,
            )

        rows: int | None = finish(client, config, start).output_rows
    return rows


def copy(client: Client, config: BigQueryConfig, source: str, target: str) -> None:
    """Put a copy of a table in the place of another, as one."""
    from google.cloud.bigquery import CopyJobConfig

    def start(job_id: str) -> CopyJob:
        return client.copy_table(
            table_reference(config, source),
            table_reference(config, target),
            job_id=job_id,
            location=config.dataset_location,
            job_config=CopyJobConfig(write_disposition="WRITE_TRUNCATE"),
        )

    finish(client, config, start)


def finish(client: Client, config: BigQueryConfig, start: Callable[[str], LoadJob | CopyJob]) -> Any:
    """Start a job under an id of our own, wait for its end and return it."""
    from google.api_core.exceptions import Conflict

    job_id = f"headrace_{uuid4()}"
    try:
        job: Any = start(job_id)
    except Conflict:  # the client repeated a request whose first answer was lost
        job = client.get_job(job_id, location=config.dataset_location, retry=retry(config))
    job.result(retry=retry(config))
    return job
