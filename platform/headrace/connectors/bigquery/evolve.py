"""Making a BigQuery table fit for staged data: columns added, columns made wider, or a clear no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.connectors import SchemaContract
from headrace.connectors.bigquery.columns import Column
from headrace.connectors.bigquery.connection import retry, run
from headrace.connectors.kit.sql.loads import check_addable, check_alterable, unfit

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

    from headrace.connectors.bigquery.config import BigQueryConfig

# The API answers with the names of legacy SQL.
STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
# https://cloud.google.com/bigquery/docs/managing-table-schemas#change_column_data_type
_WIDER = {("INT64", "NUMERIC"), ("INT64", "BIGNUMERIC"), ("NUMERIC", "BIGNUMERIC"), ("INT64", "FLOAT64")}
# A cast that keeps every value, or fails.
_CAST = {("INT64", "NUMERIC"), ("INT64", "BIGNUMERIC"), ("NUMERIC", "BIGNUMERIC"), ("DATE", "DATETIME")}
_EXACT = 2**53  # up to which FLOAT64 holds every integer


def evolved(
    client: Client,
    config: BigQueryConfig,
    target: Table,
    columns: list[Column],
    stage: str,
    contract: SchemaContract,
) -> dict[str, str]:
    """Alter the target as the staged data needs, and return each column's expression from alias `s`.

    Raises SchemaConflict, naming the column, where a value would be lost, and SchemaFrozen where the contract
    forbids what is needed.
    """
    held = {field.name.lower(): field for field in target.schema}
    added = [column for column in columns if column.name.lower() not in held]
    for column in added:
        check_addable(contract, column.source)
    _add_columns(client, config, target, added)
    values = {}
    for column in columns:
        field = held.get(column.name.lower())
        kind = column.kind if field is None else STANDARD.get(field.field_type, field.field_type)
        values[column.name] = _value(client, config, target, column, kind, stage, contract)
    return values


def _add_columns(client: Client, config: BigQueryConfig, target: Table, columns: list[Column]) -> None:
    from google.cloud.bigquery import SchemaField

    if columns:
        added = [SchemaField(column.name, column.kind) for column in columns]
        target.schema = [*target.schema, *added]
        client.update_table(target, ["schema"], retry=retry(config))


def _value(
    client: Client,
    config: BigQueryConfig,
    target: Table,
    column: Column,
    held: str,
    stage: str,
    contract: SchemaContract,
) -> str:
    value = f"s.`{column.name}`"
    if held == column.kind:
        return value
    if (column.kind, held) in _CAST:
        return f"CAST({value} AS {held})"
    name = f"`{target.project}`.`{target.dataset_id}`.`{target.table_id}`"
    if (column.kind, held) == ("INT64", "FLOAT64") and not _has_large(client, config, stage, column.name):
        return f"CAST({value} AS FLOAT64)"
    if (held, column.kind) in _WIDER and not (
        column.kind == "FLOAT64" and _has_large(client, config, name, column.name)
    ):
        check_alterable(contract, column.source, held, column.kind)
        query = f"ALTER TABLE {name} ALTER COLUMN `{column.name}` SET DATA TYPE {column.kind}"
        run(client, config, query)
        return value
    raise unfit(contract, column.source, held, column.kind)


def _has_large(client: Client, config: BigQueryConfig, relation: str, column: str) -> bool:
    query = f"SELECT 1 FROM {relation} WHERE `{column}` NOT BETWEEN {-_EXACT} AND {_EXACT} LIMIT 1"  # noqa: S608
    return any(True for _ in run(client, config, query))
