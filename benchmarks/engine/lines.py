"""What is measured: one line is one kind of source into one kind of destination."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the report's tables."""

    name: str
    source: str  # postgres, rest or generated
    target: str  # parquet, postgres or duckdb
    goal: float | None = None  # at most so many times the limit's seconds
    one_row: bool = False


LINES = {
    line.name: line
    for line in (
        Line(name="postgres-parquet", source="postgres", target="parquet", goal=1.8),
        Line(name="postgres-postgres", source="postgres", target="postgres", goal=2.2),
        Line(name="postgres-duckdb", source="postgres", target="duckdb", goal=2.2),
        Line(name="rest-parquet", source="rest", target="parquet", goal=4.0),
        Line(name="rest-postgres", source="rest", target="postgres", goal=4.0),
        Line(name="one-row", source="postgres", target="postgres", one_row=True),
        Line(name="generated-parquet", source="generated", target="parquet"),
        Line(name="generated-postgres", source="generated", target="postgres"),
        Line(name="generated-duckdb", source="generated", target="duckdb"),
    )
}
USUAL = tuple(name for name in LINES if not name.startswith("generated"))
ONE_ROW_SECONDS = 0.5
MOST_MEGABYTES = 400
