"""What a system cannot hold and a load leaves out, counted by column and told as warnings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.connectors import LoadRequest, RunWarning

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(kw_only=True)
class Lost:
    """Counts by column."""

    nuls: Counter[str] = field(default_factory=Counter)  # characters
    fractions: Counter[str] = field(default_factory=Counter)  # values with parts of a microsecond

    def tell(self, request: LoadRequest, system: str) -> None:
        """Warn of each column that has lost something."""
        for column, count in (+self.nuls).items():
            detail = f"Column {column!r}: NUL characters were left out, which {system} cannot hold."
            request.warn(RunWarning(code="destination.nul_characters", detail=detail, count=count))
        for column, count in (+self.fractions).items():
            detail = f"Column {column!r}: times were cut to the microseconds that {system} holds."
            request.warn(RunWarning(code="destination.times_cut", detail=detail, count=count))


def finer_than_microseconds(array: pa.Array) -> int:
    """Return how many times of an array would be another one in microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if getattr(kind, "unit", None) != "ns" or not (pa.types.is_time64(kind) or pa.types.is_timestamp(kind)):
        return 0
    number = array.view(pa.int64())
    whole = pc.multiply(pc.divide(number, 1000), 1000)
    return pc.sum(pc.not_equal(number, whole)).as_py() or 0
