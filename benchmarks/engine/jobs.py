"""What a contender is told, as JSON: its only argument."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one contender."""

    source: str  # postgres, rest or generated
    target: str  # parquet, postgres or duckdb
    stream: str  # schema.table, for PostgreSQL
    rows: int
    source_url: str  # PostgreSQL's
    target_url: str  # of an empty database on the same server
    rest_url: str  # http://host:port, whose path /contacts is the list
    folder: str  # an empty one, for whatever is written

    def text(self) -> str:
        """Write the job down."""
        return json.dumps(asdict(self))


def read_job(text: str) -> Job:
    """Return the job that a text holds."""
    return Job(**json.loads(text))
