"""The ledger of a BigQuery dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.connectors.bigquery.connection import find_table, retry, run, sql_name, table_reference
from headrace.connectors.kit.loading.ledger import COLUMNS, LEDGER, Kind, Ledger

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, QueryJobConfig

    from headrace.connectors.bigquery.config import BigQueryConfig


@dataclass(frozen=True, kw_only=True)
class BigQueryLedger(Ledger):
    """The ledger of one dataset. What it executes becomes part of the load's script."""

    types: ClassVar[Mapping[Kind, str]] = {
        "key": "STRING",
        "name": "STRING",
        "text": "STRING",
        "number": "INT64",
        "instant": "TIMESTAMP",
    }
    now: ClassVar[str] = "CURRENT_TIMESTAMP()"
    quote: ClassVar[str] = "`"

    client: Client
    config: BigQueryConfig
    script: list[str] = field(default_factory=list)
    parameters: dict[str, str | int] = field(default_factory=dict)  # of the script

    def create(self, definition: str) -> None:
        """Create the table, which a transaction cannot."""
        from google.cloud.bigquery import SchemaField, Table

        schema = [SchemaField(name, self.types[kind]) for name, kind in COLUMNS.items()]
        table = Table(table_reference(self.config, LEDGER), schema=schema)
        self.client.create_table(table, exists_ok=True, retry=retry(self.config))

    def add(self, column: str, kind: str) -> None:
        """Add a column, which a transaction cannot."""
        from google.cloud.bigquery import SchemaField

        table = self.client.get_table(table_reference(self.config, LEDGER), retry=retry(self.config))
        table.schema = [*table.schema, SchemaField(column, kind)]
        self.client.update_table(table, ["schema"], retry=retry(self.config))

    def columns(self) -> list[str]:
        """Ask for the table's schema."""
        table = find_table(self.client, self.config, LEDGER)
        return [column.name for column in table.schema] if table else []

    def holds(self, table: str) -> bool:
        """Ask for the table."""
        return find_table(self.client, self.config, table) is not None

    def name(self) -> str:
        """Return the qualified name."""
        return sql_name(self.config, LEDGER)

    def mark(self, place: int, name: str, value: str | int) -> str:
        """Return the parameter of the value's name."""
        return f"@{name}"

    def fetch(self, query: str, values: Mapping[str, str | int]) -> list[tuple[Any, ...]]:
        """Return all rows."""
        rows = run(self.client, self.config, query, with_parameters(values))
        return [tuple(row.values()) for row in rows]

    def execute(self, statement: str, values: Mapping[str, str | int]) -> None:
        """Add a statement to the script."""
        self.script.append(statement)
        self.parameters.update(values)


def with_parameters(values: Mapping[str, str | int]) -> QueryJobConfig:
    """Return a query's configuration with named parameters."""
    from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

    return QueryJobConfig(
        query_parameters=[
            ScalarQueryParameter(name, "INT64" if isinstance(value, int) else "STRING", value)
            for name, value in values.items()
        ]
    )
