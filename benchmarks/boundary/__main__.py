"""Measure what an incremental run on a large PostgreSQL table costs when it finds nothing or one row.

Brings its own PostgreSQL and a table with an index on the cursor. With `--before` an older checkout that has
its `.venv` takes turns with this one. Prints medians: seconds, and seconds of processor time of the run and
of the server together. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import psycopg
from postgres_server import run_postgres

_ROOT = Path(__file__).parents[2]
_FINDS = {
    "nothing": "nothing new, other sessions idle",
    "one": "one new row, other sessions idle",
    "active-nothing": "nothing new, another session active",
    "active-one": "one new row, another session active",
}


def main() -> None:
    """Fill the table, let each contender load it, then take turns."""
    asked = _arguments()
    contenders = {"now": (_ROOT, 0), "now, lookback 60": (_ROOT, 60)}
    if asked.before:
        contenders = {"before": (asked.before.absolute(), 0)} | contenders
    with run_postgres() as server, tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        url, postmaster = server.url(), (server.folder / "data/postmaster.pid").read_text().split()[0]
        print(f"{asked.rows:,} rows: {_fill(url, asked.rows)}", flush=True)

        def run(name: str, what: str) -> str:
            root, lookback = contenders[name]
            command = [root / ".venv/bin/python", Path(__file__).with_name("reader.py"), url, postmaster]
            command += [Path(folder) / name, what, str(lookback)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=folder)
            found = json.loads(done.stdout)
            return f"{found['wall']:.3f} s, processor {found['cpu']:.3f} s, rows {found['rows']}"

        for name in contenders:
            print(f"first load, {name}: {run(name, 'first')}", flush=True)
        for what, said in _FINDS.items():
            for turn in range(asked.turns):
                for name in contenders:
                    print(f"{said}, {name}, turn {turn + 1}: {run(name, what)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.boundary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table")
    parser.add_argument("--turns", type=int, default=2, help="how often each contender has its turn")
    parser.add_argument("--before", type=Path, help="an older checkout, with its .venv")
    return parser.parse_args()


def _fill(url: str, rows: int) -> str:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("CREATE TABLE big (id bigint, at timestamptz NOT NULL, v text)")
        session.execute("CREATE TABLE other (n int)")
        session.execute(
            f"INSERT INTO big SELECT n, now() - interval '1 hour' - ({rows} - n) * interval '1 second',"
            f" md5(n::text) FROM generate_series(1, {rows}) n"
        )
        session.execute("CREATE INDEX ON big (at)")
        session.execute("CREATE INDEX ON big (id)")
        session.execute("VACUUM ANALYZE big")
        row = session.execute("SELECT pg_size_pretty(pg_total_relation_size('big'))").fetchone()
    assert row is not None
    return str(row[0])


if __name__ == "__main__":
    main()
