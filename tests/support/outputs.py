"""Finished outputs and load requests for the tests of destinations."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.connectors import LoadRequest, Output


def output_of(table: pa.Table, folder: Path) -> Output:
    """Write a table as a run's output file."""
    path = folder / f"output-{len(list(folder.iterdir()))}.parquet"
    pq.write_table(table, path)
    return Output(path=path, schema=table.schema, rows=table.num_rows, size=path.stat().st_size)


def request_for(given: pa.Table, folder: Path, /, **changes: Any) -> LoadRequest:
    """Ask for a table to be loaded, as pipeline `pipeline-1` under a load id of its own."""
    output = output_of(given, folder)
    usual: dict[str, Any] = {"table": "items", "pipeline_id": "pipeline-1", "load_id": output.path.stem}
    return LoadRequest(output=output, **(usual | changes))
