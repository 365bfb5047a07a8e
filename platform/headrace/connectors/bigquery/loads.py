"""`_headrace_loads`: what each pipeline last committed to a dataset, written in the load's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace.connectors import Loaded, LoadRequest, cursor_text
from headrace.connectors.bigquery.connection import retry, table_reference
from headrace.connectors.kit.sql.loads import LOADS

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, ScalarQueryParameter

    from headrace.connectors.bigquery.config import BigQueryConfig

_COLUMNS = {"pipeline_id": "STRING", "load_id": "STRING", "table_name": "STRING", "cursor": "STRING",
            "rows": "INT64", "loaded_at": "TIMESTAMP"}  # fmt: skip


def last_load(client: Client, config: BigQueryConfig, pipeline_id: str) -> Loaded | None:
    """Return the pipeline's last load; None when it never loaded into this dataset."""
    from google.api_core.exceptions import NotFound
    from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

    table = table_reference(config, LOADS)
    try:
        client.get_table(table, retry=retry())
    except NotFound:
        return None
    query = f"SELECT load_id, `cursor` FROM {sql_name(config, LOADS)} WHERE pipeline_id = @pipeline_id"  # noqa: S608
    parameters = [ScalarQueryParameter("pipeline_id", "STRING", pipeline_id)]
    job = client.query(query, job_config=QueryJobConfig(query_parameters=parameters))
    return next((Loaded(load_id=row[0], cursor=json.loads(row[1] or "null")) for row in job.result()), None)


def ensure_loads(client: Client, config: BigQueryConfig) -> None:
    """Make the table of loads where it is missing: a transaction cannot."""
    from google.cloud.bigquery import SchemaField, Table

    schema = [SchemaField(name, kind) for name, kind in _COLUMNS.items()]
    client.create_table(Table(table_reference(config, LOADS), schema=schema), exists_ok=True, retry=retry())


def note(config: BigQueryConfig) -> str:
    """Return the statements that note a load, with the parameters of `note_parameters`."""
    loads = sql_name(config, LOADS)
    names = ", ".join(f"`{name}`" for name in _COLUMNS)
    return (
        f"DELETE FROM {loads} WHERE pipeline_id = @pipeline_id;\n"  # noqa: S608 - quoted names
        f"INSERT INTO {loads} ({names}) VALUES"
        " (@pipeline_id, @load_id, @table_name, @cursor, @rows, CURRENT_TIMESTAMP());\n"
    )


def note_parameters(table: str, request: LoadRequest) -> list[ScalarQueryParameter]:
    """Return the values that go with `note`."""
    from google.cloud.bigquery import ScalarQueryParameter

    cursor = None if request.cursor is None else cursor_text(request.cursor)
    values = (request.pipeline_id, request.load_id, table, cursor, request.output.rows)
    return [
        ScalarQueryParameter(name, kind, value)
        for (name, kind), value in zip(_COLUMNS.items(), values, strict=False)
    ]


def sql_name(config: BigQueryConfig, table: str) -> str:
    """Return a table's name as SQL. The parts hold no backtick: their patterns see to it."""
    return f"`{config.project_id}`.`{config.dataset_id}`.`{table}`"
