"""The highest cursor of what a run has read."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.connectors import Cursor, Unreadable


class NoCursor(Unreadable):
    """The field to sync by is missing from the rows, or cannot be put in order."""

    code = "source.no_cursor"
    title = "Cannot sync by this field"
    hint = "Sync by a field that every row has and that only grows: a change time, a counter."


class HighestCursor:
    """Follows the highest value of a field, from the cursor that an earlier run has stored.

    `value` is a cursor as JSON: numbers and texts as they are, times in ISO 8601, decimals as text. Without a
    field it stays what a source's checkpoints make it.
    """

    def __init__(self, field: str | None, value: Cursor | None) -> None:
        self._field = field
        self._highest: Any = None
        self.value = value

    def see(self, batch: pa.RecordBatch) -> None:
        """Take a batch's rows into account. Raises NoCursor."""
        if self._field is None or batch.num_rows == 0:
            return
        if self._field not in batch.schema.names:
            raise NoCursor(f"The rows have no field {self._field!r} to sync by.")
        try:
            highest = pc.max(batch.column(self._field)).as_py()
            if highest is not None and (self._highest is None or highest > self._highest):
                self._highest, self.value = highest, _json(highest)
        except (OverflowError, ValueError):
            raise NoCursor(
                f"The highest value of {self._field!r} is no time of the years 1 to 9999 in microseconds."
            ) from None
        except (pa.ArrowNotImplementedError, TypeError):
            raise NoCursor(f"The values of {self._field!r} cannot be put in order.") from None


def _json(value: Any) -> Cursor:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
