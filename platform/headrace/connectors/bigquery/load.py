"""Loading a run's output into a BigQuery table: a load job into a staging table, then one publishing step.

A whole stream is published by a copy job, which replaces the target as one and costs nothing. New rows are
appended or merged by a script that is one transaction, in which the load is noted, too; a table
whose schema is frozen is refilled so, as well. A copy and its note are two steps: a crash in between repeats
the copy, which changes nothing.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headrace.connectors import LoadRequest, Rejected
from headrace.connectors.bigquery.columns import ORDINAL, Column, columns_of, write
from headrace.connectors.bigquery.connection import find_dataset, retry, table_reference
from headrace.connectors.bigquery.evolve import evolved
from headrace.connectors.bigquery.loads import (
    ensure_loads,
    last_load,
    note,
    note_parameters,
    sql_name,
)
from headrace.connectors.kit.sql.loads import LOADS, check_key

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, CopyJob, LoadJob, SchemaField, Table

    from headrace.connectors.bigquery.config import BigQueryConfig


def load(client: Client, config: BigQueryConfig, table: str, request: LoadRequest) -> None:
    """Load the output and note it; a load that was committed before is not done again."""
    columns = columns_of(request.output.schema)
    if not re.fullmatch(r"[\w -]{1,1024}", table):
        raise Rejected(f"BigQuery keeps no table of the name {table!r}: name it with table_id.")
    _ensure_dataset(client, config)
    ensure_loads(client, config)
    last = last_load(client, config, request.pipeline_id)
    if last is not None and last.load_id == request.load_id:
        request.log.info("This load was committed before; nothing is loaded twice.")
        return
    if not columns:
        _publish_nothing(client, config, table, request)
        return
    with _staged(client, config, columns, request) as stage:
        target = _find_table(client, config, table)
        refills = request.schema_contract == "freeze" and target is not None
        if request.disposition == "replace" and not refills:
            _replace(client, config, stage, table, request)
        else:
            target = target or _create(client, config, table, _schema(columns))
            _add(client, config, stage, target, columns, request)


def _ensure_dataset(client: Client, config: BigQueryConfig) -> None:
    from google.cloud.bigquery import Dataset

    if find_dataset(client, config) is None:
        dataset = Dataset(f"{config.project_id}.{config.dataset_id}")
        dataset.location = config.dataset_location
        client.create_dataset(dataset, exists_ok=True, retry=retry())


def _find_table(client: Client, config: BigQueryConfig, table: str) -> Table | None:
    from google.api_core.exceptions import NotFound

    try:
        return client.get_table(table_reference(config, table), retry=retry())
    except NotFound:
        return None


def _schema(columns: list[Column]) -> list[SchemaField]:
    from google.cloud.bigquery import SchemaField

    return [SchemaField(column.name, column.kind) for column in columns]


def _create(client: Client, config: BigQueryConfig, name: str, schema: list[SchemaField]) -> Table:
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
    return client.create_table(table, retry=retry())


def _check_column(name: str | None, names: set[str], key: str) -> None:
    if name is not None and name not in names:
        raise Rejected(f"The output has no column {name!r}, which {key} names.", context={"column": name})


@contextmanager
def _staged(
    client: Client, config: BigQueryConfig, columns: list[Column], request: LoadRequest
) -> Iterator[str]:
    """Upload the output into a staging table of the pipeline's own; yield its name; remove it at the end.

    The name is the same in every run, so what a killed worker leaves goes with the next run's.
    """
    merges = request.disposition == "merge"
    if merges:
        check_key(request.primary_key, request.output.schema.names)
    stage = "_headrace_stage_" + "".join(c if c.isalnum() else "_" for c in request.pipeline_id)
    reference = table_reference(config, stage)
    client.delete_table(reference, not_found_ok=True, retry=retry())
    try:
        schema = _schema(columns)
        if request.disposition == "replace":
            _create(client, config, stage, schema)
        with _file(columns, request, ordinal=merges) as path:
            _upload(client, config, stage, path, schema, ordinal=merges)
        request.progress(request.output.rows)
        yield stage
    finally:
        client.delete_table(reference, not_found_ok=True, retry=retry())


@contextmanager
def _file(columns: list[Column], request: LoadRequest, *, ordinal: bool) -> Iterator[Path]:
    """Yield the file to upload: the output itself, or one that is rewritten for BigQuery."""
    if not ordinal and all(column.unchanged for column in columns):
        yield request.output.path
        return
    if ordinal:
        _check_no_nulls(request)
    folder = request.output.path.parent
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".bigquery-", suffix=".parquet") as file:
        write(request.output, columns, Path(file.name), ordinal=ordinal)
        yield Path(file.name)


def _check_no_nulls(request: LoadRequest) -> None:
    for batch in request.output.batches():
        if any(batch.column(name).null_count for name in request.primary_key):
            raise Rejected(f"A row has no value in its primary key ({', '.join(request.primary_key)}).")


def _upload(
    client: Client,
    config: BigQueryConfig,
    stage: str,
    path: Path,
    schema: list[SchemaField],
    *,
    ordinal: bool,
) -> None:
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
                job_id=job_id,
                location=config.dataset_location,
                job_config=job_config,
            )

        _finish(client, config, start)


def _replace(client: Client, config: BigQueryConfig, stage: str, table: str, request: LoadRequest) -> None:
    from google.cloud.bigquery import CopyJobConfig

    def start(job_id: str) -> CopyJob:
        return client.copy_table(
            table_reference(config, stage),
            table_reference(config, table),
            job_id=job_id,
            location=config.dataset_location,
            job_config=CopyJobConfig(write_disposition="WRITE_TRUNCATE"),
        )

    request.before_commit()
    _finish(client, config, start)
    _run(client, config, _transaction(note(config)), table, request)


def _finish(client: Client, config: BigQueryConfig, start: Callable[[str], LoadJob | CopyJob]) -> None:
    """Start a job under an id of our own, and wait for its end."""
    from google.api_core.exceptions import Conflict

    job_id = f"headrace_{uuid4()}"
    try:
        job: Any = start(job_id)
    except Conflict:  # the client repeated a request whose first answer was lost
        job = client.get_job(job_id, location=config.dataset_location)
    job.result()


def _publish_nothing(client: Client, config: BigQueryConfig, table: str, request: LoadRequest) -> None:
    """Note a load without columns; a table that it replaces is emptied."""
    empties = request.disposition == "replace" and _find_table(client, config, table) is not None
    empty = f"DELETE FROM {sql_name(config, table)} WHERE TRUE;\n" if empties else ""  # noqa: S608
    request.before_commit()
    _run(client, config, _transaction(empty + note(config)), table, request)


def _add(
    client: Client,
    config: BigQueryConfig,
    stage: str,
    target: Table,
    columns: list[Column],
    request: LoadRequest,
) -> None:
    """Append, merge or refill, and note it, in one transaction."""
    values = evolved(client, target, columns, sql_name(config, stage), request.schema_contract)
    build = _merge if request.disposition == "merge" else _append
    changes = build(sql_name(config, target.table_id), sql_name(config, stage), values, columns, request)
    loads = sql_name(config, LOADS)
    # A script that went on after its worker was lost, and the one that repeats it: only one passes here.
    once = (
        f"ASSERT NOT EXISTS (SELECT 1 FROM {loads} WHERE pipeline_id = @pipeline_id"  # noqa: S608
        " AND load_id = @load_id) AS 'The load was committed before';\n"
    )
    request.before_commit()
    _run(client, config, _transaction(once + changes + note(config)), target.table_id, request)


def _append(
    target: str, stage: str, values: dict[str, str], columns: list[Column], request: LoadRequest
) -> str:
    names = ", ".join(f"`{name}`" for name in values)
    empty = f"DELETE FROM {target} WHERE TRUE;\n" if request.disposition == "replace" else ""  # noqa: S608
    insert = f"INSERT INTO {target} ({names}) SELECT {', '.join(values.values())} FROM {stage} AS s;\n"  # noqa: S608
    return empty + insert


def _merge(
    target: str, stage: str, values: dict[str, str], columns: list[Column], request: LoadRequest
) -> str:
    key = [column.name for column in columns if column.source in request.primary_key]
    listed = ", ".join(f"`{name}`" for name in key)
    last = (
        f"SELECT * FROM {stage} QUALIFY ROW_NUMBER() OVER (PARTITION BY {listed} ORDER BY {ORDINAL} DESC) = 1"  # noqa: S608
    )
    same = " AND ".join(f"t.`{name}` = {values[name]}" for name in key)
    rest = [f"`{name}` = {value}" for name, value in values.items() if name not in key]
    update = f"WHEN MATCHED THEN UPDATE SET {', '.join(rest)}\n" if rest else ""
    names = ", ".join(f"`{name}`" for name in values)
    return (  # quoted names
        f"MERGE INTO {target} AS t USING ({last}) AS s ON {same}\n{update}"  # noqa: S608
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({', '.join(values.values())});\n"
    )


def _transaction(statements: str) -> str:
    """Write a script of one transaction; one that fails is undone by BigQuery."""
    return f"BEGIN TRANSACTION;\n{statements}COMMIT TRANSACTION;"


def _run(client: Client, config: BigQueryConfig, script: str, table: str, request: LoadRequest) -> None:
    from google.cloud.bigquery import QueryJobConfig

    parameters = note_parameters(table, request)
    job_config = QueryJobConfig(query_parameters=parameters)
    client.query(script, job_config=job_config, location=config.dataset_location).result()
