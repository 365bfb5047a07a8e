"""Run one pipeline several times and print what each run took, as JSON. A process of its own.

It also runs in the environment of an older checkout, so it knows both places of `parse_config`.
"""

import json
import logging
import os
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg

from headrace.engine.run import EngineJob, run_pipeline

try:
    from headrace.pipeline.document import parse_config
except ImportError:
    from headrace.connectors.config import parse_config  # type: ignore[no-redef,import-not-found]  # of an older checkout

_TICK = os.sysconf("SC_CLK_TCK")
_REPEATS = 5


def main(url: str, postmaster: str, folder: Path, what: str, lookback: str) -> None:
    """Run once to warm up, then `_REPEATS` times."""
    folder.mkdir(parents=True, exist_ok=True)
    source = {"name": "postgres", "url": url, "stream": "public.big"}
    source |= {"sync_mode": "incremental", "cursor_field": "at"}
    if float(lookback):
        source |= {"lookback": float(lookback)}
    to = {"name": "duckdb", "config": {"path": str(folder / "to.duckdb"), "table": "big"}}
    config = parse_config({"name": "boundary", "source": source, "destination": to})
    runs = []
    with psycopg.connect(url, autocommit=True) as active:
        for _ in range(1 if what == "first" else _REPEATS + 1):
            if what.startswith("active"):
                _change(active, what)
            else:
                active.close()
                with psycopg.connect(url, autocommit=True) as session:
                    _change(session, what)
                time.sleep(0.5)
            runs.append(_run(config, folder, int(postmaster)))
    measured = runs[1:] or runs
    print(
        json.dumps(
            {
                "wall": statistics.median(run["wall"] for run in measured),
                "cpu": statistics.median(run["cpu"] for run in measured),
                "rows": [run["rows"] for run in measured],
            }
        )
    )


def _change(session: "psycopg.Connection[Any]", what: str) -> None:
    if what.endswith("one"):
        session.execute("INSERT INTO big SELECT max(id) + 1, clock_timestamp(), 'new' FROM big")
    if what == "active-nothing":
        session.execute("INSERT INTO other VALUES (1)")  # this session wrote a moment ago


def _run(config: Any, folder: Path, postmaster: int) -> dict[str, Any]:
    output = folder / "output.parquet"
    job = EngineJob(
        output_path=output, pipeline_id="p", run_id=str(uuid.uuid4()), log=logging.getLogger("boundary")
    )
    before, began = time.process_time() + _processor_seconds(postmaster), time.perf_counter()
    result = run_pipeline(config, job)
    wall = time.perf_counter() - began
    own = time.process_time()
    time.sleep(1.5)  # the time of the server's process counts once it has ended
    output.unlink()
    return {"wall": wall, "cpu": own + _processor_seconds(postmaster) - before, "rows": result.rows}


def _processor_seconds(process: int) -> float:
    """Return the seconds of processor time of a process and its ended children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5])
