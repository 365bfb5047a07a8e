"""PostgreSQL to PostgreSQL through the engine: the server itself compares what came with what was sent."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import parse_config

VALUES = {
    "smallint": "-32768",
    "bigint": "9223372036854775807",
    "numeric(12,3)": "-123456789.125",
    "numeric(50,3)": "99999999999999999999999999999999999999999999999.999",
    "numeric": "NaN",
    "real": "1.1",
    "double precision": "-Infinity",
    "boolean": "true",
    "text": "ünï\n😀\\",
    "bytea": "\\x00ff",
    "date": "0044-03-15 BC",
    "time without time zone": "23:59:59.999999",
    "time with time zone": "10:00:00.5+02",
    "timestamp without time zone": "4713-01-01 00:00:00 BC",
    "timestamp with time zone": "294246-12-31 23:59:59.999999+00",
    "interval": "178000000 years -3 days 00:00:00.000001",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "json": '{"b": 1,  "a":2}',
    "jsonb": '{"a": [1.10, null], "s": "\\\\u0000"}',
    "inet": "10.0.0.1/8",
    "cidr": "10.0.0.0/8",
    "macaddr": "08:00:2b:01:02:03",
    "bit(3)": "101",
    "bit varying": "10101",
    "money": "-5.50",
    "point": "(1,2.5)",
    "int4range": "[1,5)",
    "tstzrange": '["2024-01-01 00:00:00+00",infinity)',
    "tsvector": "'a':1 'b':2A",
    "pg_lsn": "16/B374D848",
    "bigint[]": "{1,NULL,3}",
    "text[]": '{a,"b,c",NULL,""}',
    "integer[]": "{{1,2},{3,4}}",
    "numeric[]": "{1.10,NaN}",
    "timestamp with time zone[]": "{infinity}",
    "uuid[]": "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
}


def run_between(url: str, folder: Path, *, stream: str, target: str, **source: Any) -> Any:
    config = parse_config(
        {
            "name": "copy",
            "source": {"name": "postgres", "url": url, "stream": stream, **source},
            "destination": {"name": "postgres", "config": {"url": url, "table": target}},
        }
    )
    number = len(list(folder.iterdir()))
    job = EngineJob(
        output_path=folder / f"{number}.parquet",
        pipeline_id="pipeline-1",
        run_id=f"run-{number}",
        log=logging.getLogger("test"),
        progress=lambda progress: None,
        check=lambda: None,
    )
    return run_pipeline(config, job)


def test_every_type_and_value_is_the_same_afterwards(postgres_url: str, tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(len(VALUES))]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        declared = ", ".join(f"{name} {kind}" for name, kind in zip(names, VALUES, strict=True))
        connection.execute(f"CREATE TABLE origin (id int PRIMARY KEY, {declared})")
        marks = ", ".join(f"%s::text::{kind}" for kind in VALUES)
        connection.execute(f"INSERT INTO origin VALUES (1, {marks})", list(VALUES.values()))
        connection.execute("INSERT INTO origin (id) VALUES (2)")

    run_between(postgres_url, tmp_path, stream="public.origin", target="copy")

    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "SELECT origin::text, copy::text FROM origin JOIN copy USING (id) ORDER BY id"
        )
        pairs = rows.fetchall()
        query = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
        )
        types = [dict(connection.execute(query, [name]).fetchall()) for name in ("origin", "copy")]
    assert types[0] == types[1]
    assert len(pairs) == 2
    for origin, copy in pairs:
        assert origin == copy


def test_an_incremental_pipeline_merges_what_changed_since(postgres_url: str, tmp_path: Path) -> None:
    changes = {
        "stream": "public.origin",
        "target": "copy",
        "sync_mode": "incremental",
        "cursor_field": "changed",
    }
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE origin (id int PRIMARY KEY, v text, changed timestamptz)")
        connection.execute(
            "INSERT INTO origin SELECT g, 'old', to_timestamp(g) FROM generate_series(1, 100) g"
        )

        first = run_between(postgres_url, tmp_path, **changes)
        connection.execute("UPDATE origin SET v = 'new', changed = to_timestamp(1000 + id) WHERE id <= 10")
        connection.execute("INSERT INTO origin VALUES (101, 'new', to_timestamp(2000))")
        second = run_between(postgres_url, tmp_path, **changes)
        third = run_between(postgres_url, tmp_path, **changes)
        different = connection.execute("TABLE origin EXCEPT TABLE copy").fetchall()
        count = connection.execute("SELECT count(*) FROM copy").fetchone()

    assert (first.rows, second.rows, third.rows) == (100, 11, 0)
    assert different == []
    assert count == (101,)


_MEASURED = """
import logging, sys
from pathlib import Path
from headrace.pipeline.document import parse_config
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
url, folder = sys.argv[1:]
config = parse_config({"name": "copy", "source": {"name": "postgres", "url": url, "stream": "public.origin"},
                       "destination": {"name": "postgres", "config": {"url": url, "table": "copy"}}})
job = EngineJob(output_path=Path(folder) / "o.parquet", pipeline_id="p", run_id="r", log=logging.getLogger(),
                progress=lambda progress: None, check=lambda: None)
assert run_pipeline(config, job).rows == 1_000_000
# Not getrusage: its peak is inherited from the process that forked this one, here the whole suite.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_million_rows_are_copied_in_bounded_memory(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE origin AS SELECT g AS id, g * 1.5 AS amount, md5(g::text) AS token,"
            " repeat('x', 200) AS padding, now() AS at FROM generate_series(1, 1000000) g"
        )

    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, postgres_url, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 400, "megabytes"
