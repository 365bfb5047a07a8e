"""Changes of a stream's or a table's columns, as events of the pipeline's data in Dagster."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from dagster import AssetObservation

if TYPE_CHECKING:
    from headrace.receipts import ColumnChange, Receipt

MOST_EVENTS = 100
"""Of one run. One more event says how many changes it leaves out; the run's receipt lists all of them."""


def schema_changes(receipt: "Receipt", asset_key: Sequence[str]) -> Iterator[AssetObservation]:
    """Yield an observation for each column that is not as it was before the run."""
    changes = [
        *(("stream", change) for change in receipt.schema_changes),
        *(("table", change) for change in receipt.table_changes),
    ]
    for where, change in islice(changes, MOST_EVENTS):
        facts = {"schema change in": where, "column": change.column}
        facts |= {"before": change.before or "none", "after": change.after or "none"}
        yield _event(asset_key, _told(where, change), facts)
    if left := len(changes[MOST_EVENTS:]):
        yield _event(asset_key, f"{left:,} more columns have changed", {"schema changes": left})


def _told(where: str, change: "ColumnChange") -> str:
    if change.before is None:
        return f"New column {change.column} in the {where}: {change.after}"
    if change.after is None:
        return f"Column {change.column} is gone from the {where}; it was {change.before}"
    return f"Column {change.column} in the {where}: {change.before} becomes {change.after}"


def _event(asset_key: Sequence[str], description: str, facts: dict[str, Any]) -> AssetObservation:
    return AssetObservation(asset_key=asset_key, description=description, metadata=facts)
