"""Headrace's engine on one job. Prints the engine's own seconds, from the import of its modules on."""

import sys
import time

began = time.perf_counter()

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace.connectors import ReadRequest, Source
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import PipelineConfig, parse_config

imported = time.perf_counter()

_RECORDS = 5_000


class Generated(Source):
    """As many records as asked, made by Python."""

    name = "generated"
    title = "Generated"
    rows: int

    def read(self, request: ReadRequest) -> Iterator[list[dict[str, Any]]]:
        """Yield lists of records."""
        for start in range(0, self.rows, _RECORDS):
            yield [
                {"id": n, "name": f"name {n}", "score": n / 7, "active": n % 2 == 0, "tags": {"kind": n % 9}}
                for n in range(start, min(self.rows, start + _RECORDS))
            ]


def config_of(job: dict[str, Any]) -> PipelineConfig:
    """Return the pipeline of a job."""
    sources = {
        "postgres": {"name": "postgres", "url": job["source_url"], "stream": job["stream"]},
        "generated": {"name": "dummy", "stream": "creatures"},
        "rest": {
            "name": "rest",
            "stream": "contacts",
            "base_url": job["rest_url"],
            "path": "/contacts",
            "data_selector": "results",
            "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"},
        },
    }
    targets = {
        "parquet": {"name": "file", "config": {"path": f"{job['folder']}/files"}},
        "postgres": {"name": "postgres", "config": {"url": job["target_url"], "table": "copy"}},
        "duckdb": {"name": "duckdb", "config": {"path": f"{job['folder']}/copy.duckdb", "table": "copy"}},
    }
    config = parse_config(
        {"name": "benchmark", "source": sources[job["source"]], "destination": targets[job["target"]]}
    )
    return replace(config, source=Generated(rows=job["rows"])) if job["source"] == "generated" else config


def main(job: dict[str, Any]) -> None:
    """Run it."""
    phases: dict[str, float] = {}
    result = run_pipeline(
        config_of(job),
        EngineJob(
            output_path=Path(job["folder"]) / "output.parquet",
            pipeline_id="benchmark",
            run_id="benchmark",
            log=logging.getLogger("benchmark"),
            progress=lambda progress: phases.setdefault(progress.phase, time.perf_counter() - began),
        ),
    )
    seconds = time.perf_counter() - began
    said = {"rows": result.rows, "seconds": seconds, "load": seconds - phases["load"]}
    print(json.dumps(said | {"imports": imported - began}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
