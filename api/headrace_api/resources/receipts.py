"""The receipts of runs over HTTP."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ColumnChangeView(BaseModel):
    """A column that the run has changed."""

    model_config = ConfigDict(from_attributes=True)

    column: str
    before: str | None = Field(description="Its type; null: the column is new.")
    after: str | None = Field(description="Its type; null: the column is gone.")


class WarningView(BaseModel):
    """Warnings of one code and detail, added up."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    detail: str
    count: int = Field(description="Rows, files or pages that it concerns.")


class ReceiptView(BaseModel):
    """What a run did. A figure is null where nobody can tell, or where the run did not come so far."""

    model_config = ConfigDict(from_attributes=True)

    read: int = Field(description="Rows that the source gave.")
    repeated: int = Field(description="Of these, rows that an earlier run has loaded.")
    dropped: int = Field(description="Rows that transforms removed.")
    added: int = Field(description="Rows that transforms made.")
    rejected: int = Field(
        description="Rows that have failed the run. All rows are loaded or none: 0 in a run that succeeded."
    )
    written: int | None = Field(description="Rows of the output file: read - repeated - dropped + added.")
    loaded: int | None = Field(description="Rows that the destination took.")
    inserted: int | None
    updated: int | None
    deleted: int | None
    total: int | None = Field(description="Rows of the table after the load, counted by the destination.")
    location: str | None = Field(description="Where the data is.")
    cursor_from: Any
    cursor_to: Any
    schema_before: dict[str, str] | None = Field(
        description="Arrow types by column, of the last run that succeeded."
    )
    schema_after: dict[str, str] | None
    schema_changes: Sequence[ColumnChangeView] = Field(description="Between the two.")
    table_changes: Sequence[ColumnChangeView] = Field(
        description="Of the destination's table, in its own types."
    )
