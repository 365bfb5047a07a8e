"""What a destination's rules say of one column of staged data: the same for every SQL server."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How staged data gets into a column.

    `misfit` is a condition on staged rows, and `spoiled` on the target's, that must hold for none. Where
    `misfit` holds for some, the column is altered to `wider`; without a `misfit` it is altered always.
    """

    expression: str
    misfit: str | None = None
    wider: str | None = None
    spoiled: str | None = None
