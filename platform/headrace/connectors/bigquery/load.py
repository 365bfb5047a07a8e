"""Loading a run's output into a BigQuery table: a load job into a staging table, then one publishing step.

A whole stream is published by a copy job, which replaces the target as one and costs nothing. New rows are
appended or merged by a script that is one transaction, in which the load is noted, too; a table
whose schema is frozen is refilled so, as well. A copy and its note are two steps: a crash in between repeats
the copy, which changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from headrace.connectors import MovedOn, Rejected, TableOwned
from headrace.connectors.bigquery.columns import ORDINAL, Column, columns_of
from headrace.connectors.bigquery.connection import (
    find_dataset,
    find_table,
    retry,
    run,
    sql_name,
    table_reference,
)
from headrace.connectors.bigquery.evolve import STANDARD, evolved
from headrace.connectors.bigquery.jobs import copy, create, output_file, schema_of, upload
from headrace.connectors.bigquery.loads import BigQueryLedger, with_parameters
from headrace.connectors.kit.loading.calendar import Calendar
from headrace.connectors.kit.loading.tables import TableLoad
from headrace.failpoints import reach

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

    from headrace.connectors.bigquery.config import BigQueryConfig

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types: the years 1 to 9999
_CALENDAR = Calendar(
    system="BigQuery", days=(-719_162, 2_932_896), seconds=(-62_135_596_800, 253_402_300_800)
)
_DONE_BEFORE = "The load was committed before"
_MOVED_ON = "Another load of this pipeline was committed after this run had read its cursor"
_OWNED = "Another pipeline has taken the table"


@dataclass(kw_only=True)
class BigQueryLoad(TableLoad):
    """A load into one table of the configured dataset."""

    client: Client
    config: BigQueryConfig
    columns: list[Column] = field(init=False, default_factory=list)
    target: Table | None = field(init=False, default=None)
    copies: bool = field(init=False, default=False)  # the staging table takes the table's place
    values: dict[str, str] = field(init=False, default_factory=dict)  # expressions of staged columns
    uploaded: int | None = field(init=False, default=None)  # rows in the staging table
    token: str = field(init=False, default_factory=lambda: uuid4().hex[:8])  # in the staging table's name
    expected: str = field(init=False, default="")  # the load that the ledger must hold at the commit
    _ledger: BigQueryLedger = field(init=False)

    def __post_init__(self) -> None:
        self._ledger = BigQueryLedger(client=self.client, config=self.config)

    @property
    def ledger(self) -> BigQueryLedger:
        """The ledger of the dataset, and the script of this load."""
        return self._ledger

    def check(self) -> None:
        """Look at names and types."""
        self.prepare()
        _CALENDAR.check(self.request.output)
        if not re.fullmatch(r"[\w -]{1,1024}", self.table):
            raise Rejected(f"BigQuery keeps no table of the name {self.table!r}: name it with table_id.")

    def prepare(self) -> None:
        """Choose each column's type."""
        self.columns = columns_of(self.request.output.schema)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make what is missing beside the table, and remove the staging table at the end.

        BigQuery has no locks to wait for: the script asserts, in its transaction, that nothing came between.
        """
        self._ensure_dataset()
        self.ledger.ensure()
        try:
            yield
        finally:
            self._leave_no_stage()

    def own(self) -> None:
        """Look at the ledger, and remember what the script has to find again."""
        super().own()
        self.expected = self.entry.load_id if self.entry else ""

    def find(self) -> bool:
        """Ask for the table."""
        self.target = find_table(self.client, self.config, self.table)
        return self.target is not None

    def shape(self) -> dict[str, str]:
        """Ask for the table; a staging table that will be copied over it is the table."""
        table = None if self.copies else find_table(self.client, self.config, self.table)
        fields = table.schema if table else schema_of(self.columns)
        return {column.name: STANDARD.get(column.field_type, column.field_type) for column in fields}

    def text_columns(self) -> set[str]:
        """Names match in any case."""
        found = self.target.schema if self.target else ()
        held = {one.name.lower() for one in found if one.field_type == "STRING" and one.mode != "REPEATED"}
        return {one.source for one in self.columns if one.name.lower() in held and one.kind != "STRING"}

    def has_values(self, name: str) -> bool:
        """Say yes: BigQuery changes no STRING column to another type."""
        return True

    def claim(self) -> None:
        """Write the ledger's row: BigQuery creates and copies tables outside of transactions."""
        self.ledger.claim(self.table, self.request)
        self._run_script()
        self.expected = ""

    def can_make(self) -> bool:
        """A copy job is no part of the script's transaction: rows are not added by it."""
        return self.request.disposition == "replace"

    def make(self) -> None:
        """Upload a staging table that is made as configured; `commit` copies it over the table."""
        self._delete_other_stages()
        create(self.client, self.config, self.staging, schema_of(self.columns))
        self._upload()
        self.inserted = self.uploaded
        self.copies = True

    def stage(self) -> None:
        """Upload the rows into a staging table."""
        self._delete_other_stages()
        self._upload()

    def fit(self) -> None:
        """Create or alter the table. Each change is lasting, and loses nothing."""
        if self.target is None:
            self.target = create(self.client, self.config, self.table, schema_of(self.columns))
        stage = sql_name(self.config, self.staging)
        self.values = evolved(
            self.client, self.config, self.target, self.columns, stage, self.request.schema_contract
        )

    def empty(self) -> None:
        """Add the statement to the script."""
        self._add(f"DELETE FROM {sql_name(self.config, self.table)} WHERE TRUE")  # noqa: S608 - quoted names

    def append(self) -> None:
        """Add the statement to the script."""
        names, values = ", ".join(f"`{name}`" for name in self.values), ", ".join(self.values.values())
        stage = sql_name(self.config, self.staging)
        insert = f"INSERT INTO {sql_name(self.config, self.table)} ({names})"
        self._add(f"{insert} SELECT {values} FROM {stage} AS s")  # noqa: S608 - quoted names
        self.inserted = self.uploaded

    def merge(self) -> None:
        """Add the statement to the script."""
        key = [column.name for column in self.columns if column.source in self.key]
        listed = ", ".join(f"`{name}`" for name in key)
        stage = sql_name(self.config, self.staging)
        place = f"ROW_NUMBER() OVER (PARTITION BY {listed} ORDER BY {ORDINAL} DESC)"
        last = f"SELECT * FROM {stage} QUALIFY {place} = 1"  # noqa: S608 - quoted names
        same = " AND ".join(f"t.`{name}` = {self.values[name]}" for name in key)
        rest = [f"`{name}` = {value}" for name, value in self.values.items() if name not in key]
        update = f"WHEN MATCHED THEN UPDATE SET {', '.join(rest)}\n" if rest else ""
        names, values = ", ".join(f"`{name}`" for name in self.values), ", ".join(self.values.values())
        self._add(
            f"MERGE INTO {sql_name(self.config, self.table)} AS t USING ({last}) AS s ON {same}\n{update}"  # noqa: S608
            f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
        )

    def commit(self) -> None:
        """Run the script, which is one transaction; one that fails is undone by BigQuery."""
        if self.copies:
            copy(self.client, self.config, self.staging, self.table)
            reach("swapped", self.request.pipeline_id)
        else:
            self.ledger.script[:0] = self._asserted()
        self._run_script()

    def location(self) -> str:
        """Name the project, the dataset and the table."""
        return f"bigquery: {self.config.project_id}.{self.config.dataset_id}.{self.table}"

    @property
    def staging(self) -> str:
        """The staging table's name: no attempt that wakes up late adds its rows to another one's."""
        return f"{self._stages}{self.token}"

    @property
    def _stages(self) -> str:
        """What the names of all staging tables of the pipeline begin with."""
        return "_headrace_stage_" + "".join(c if c.isalnum() else "_" for c in self.request.pipeline_id) + "_"

    def _add(self, statement: str) -> None:
        self.ledger.script.append(statement)

    def _asserted(self) -> Iterator[str]:
        """Yield what must hold when the rows are committed: no lock has held it since it was looked at."""
        row = f"SELECT 1 FROM {self.ledger.name()} WHERE pipeline_id"  # noqa: S608 - a quoted name
        # A script that went on after its worker was lost, and the one that repeats it: only one passes here.
        yield f"ASSERT NOT EXISTS ({row} = @pipeline_id AND load_id = @load_id) AS '{_DONE_BEFORE}'"
        if self.request.continues:
            yield f"ASSERT EXISTS ({row} = @pipeline_id AND load_id = @expected) AS '{_MOVED_ON}'"
            self.ledger.parameters["expected"] = self.expected
        if not (self.request.shared or self.request.adopt):
            yield f"ASSERT NOT EXISTS ({row} <> @pipeline_id AND table_name = @table_name) AS '{_OWNED}'"

    def _run_script(self) -> None:
        """Run what the ledger has gathered as one transaction; one that fails is undone by BigQuery."""
        from google.api_core.exceptions import BadRequest

        script = "".join(f"{statement};\n" for statement in self.ledger.script)
        job_config = with_parameters(self.ledger.parameters)
        statements = f"BEGIN TRANSACTION;\n{script}COMMIT TRANSACTION;"
        try:
            run(self.client, self.config, statements, job_config)
        except BadRequest as error:
            for detail, kind in {_MOVED_ON: MovedOn, _OWNED: TableOwned}.items():
                if detail in str(error):
                    raise kind(f"{detail}.") from None
            raise
        self.ledger.script.clear()
        self.ledger.parameters.clear()

    def _ensure_dataset(self) -> None:
        from google.cloud.bigquery import Dataset

        if find_dataset(self.client, self.config) is None:
            dataset = Dataset(f"{self.config.project_id}.{self.config.dataset_id}")
            dataset.location = self.config.dataset_location
            self.client.create_dataset(dataset, exists_ok=True, retry=retry(self.config))

    def _leave_no_stage(self) -> None:
        """Remove the staging table. The load has ended either way: the next one removes what stays."""
        try:
            self._delete_stage()
        except Exception as error:  # of Google's client, or of what it stands on
            self.request.log.warning(
                "The table %s stays until the next load: %s", self.staging, type(error).__name__
            )

    def _delete_other_stages(self) -> None:
        """Remove what killed loads have left. One that is only paused fails when it wakes up."""
        self.request.before_commit()  # this load may be the one that wakes up
        dataset = f"{self.config.project_id}.{self.config.dataset_id}"
        for table in self.client.list_tables(dataset, retry=retry(self.config)):
            if table.table_id.startswith(self._stages):
                self.client.delete_table(table.reference, not_found_ok=True, retry=retry(self.config))

    def _delete_stage(self) -> None:
        stage = table_reference(self.config, self.staging)
        self.client.delete_table(stage, not_found_ok=True, retry=retry(self.config))

    def _upload(self) -> None:
        schema, merges = schema_of(self.columns), bool(self.key)
        with output_file(self.columns, self.request, ordinal=merges) as path:
            self.uploaded = upload(self.client, self.config, self.staging, path, schema, ordinal=merges)
        self.request.progress(self.request.output.rows)
