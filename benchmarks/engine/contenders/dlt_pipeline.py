"""dlt on one job, by the quickest of its ways that works: ConnectorX as a stream of Arrow, and Parquet files.

Into PostgreSQL CSV files: its way from Parquet, by ADBC, sends JSON in a form that the server refuses.
"""

import json
import os
import sys
from typing import Any

_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
}


def source(job: dict[str, Any]) -> Any:
    """Return the resource to read."""
    if job["source"] == "rest":
        from dlt.sources.rest_api import rest_api_source

        paginator = {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"}
        endpoint = {"path": "contacts", "data_selector": "results", "paginator": paginator}
        client = {"base_url": job["rest_url"]}
        return rest_api_source({"client": client, "resources": [{"name": "copy", "endpoint": endpoint}]})
    from dlt.sources.sql_database import sql_table

    schema, _, table = job["stream"].partition(".")
    found = sql_table(
        credentials=job["source_url"],
        schema=schema,
        table=table,
        backend="connectorx",
        chunk_size=100_000,
        backend_kwargs={"return_type": "arrow_stream"},
        reflection_level="full_with_precision",
    )
    return found.with_name("copy")


def destination(job: dict[str, Any]) -> Any:
    """Return where to."""
    import dlt

    if job["target"] == "parquet":
        return dlt.destinations.filesystem(bucket_url=f"file://{job['folder']}/files")
    if job["target"] == "duckdb":
        return dlt.destinations.duckdb(f"{job['folder']}/copy.duckdb")
    return dlt.destinations.postgres(job["target_url"])


def main(job: dict[str, Any]) -> None:
    """Run it."""
    os.environ.update(_SETTINGS)
    import dlt

    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=f"{job['folder']}/dlt",
        destination=destination(job),
        dataset_name="copied",
    )
    form = "csv" if job["target"] == "postgres" else "parquet"
    pipeline.run(source(job), write_disposition="replace", loader_file_format=form).raise_on_failed_jobs()
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps({"rows": counts["copy"]}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
