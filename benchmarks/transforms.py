"""Time each kind of transform on 200,000 records of five fields, beside the same work without Headrace.

    python benchmarks/transforms.py [RECORDS]

Prints microseconds a record (the median of three runs) and the seconds that a step's process takes to start.
"""

import logging
import statistics
import sys
import time
from collections.abc import Callable

import duckdb
import pyarrow as pa

from headrace.engine.transforms.steps import transformation
from headrace.pipeline.transforms import Transform

_CODE = "data['double'] = data['n'] * 2\ndata['name'] = data['name'].upper()"
_QUERY = "SELECT * REPLACE (upper(name) AS name), n * 2 AS double FROM data"
_HASH = {"hash": {"columns": ["email"], "salt": "0123456789abcdef"}}
_CAST = {"rename": {"name": "full_name"}, "cast": {"n": "double"}}


def main(count: int) -> None:
    """Print a line for each kind."""
    batch = pa.RecordBatch.from_pylist(
        [
            {"id": i, "n": i % 97, "name": f"name {i}", "email": f"u{i}@example.org", "amount": i * 0.5}
            for i in range(count)
        ]
    )
    for name, step, bare in (
        ("python", {"python": _CODE}, lambda: _bare_python(batch)),
        ("sql", {"sql": _QUERY}, lambda: _bare_sql(batch)),
        ("columns: hash", {"columns": _HASH}, None),
        ("columns: cast, rename", {"columns": _CAST}, None),
    ):
        starts, runs = zip(*(_timed(step, batch) for _ in range(3)), strict=True)
        limit = f"   bare {_median(bare, count):5.2f} us" if bare else ""
        print(
            f"{name:22} {statistics.median(runs) / count * 1e6:6.2f} us a record"
            f"   start {statistics.median(starts):.2f} s{limit}"
        )


def _timed(step: dict, batch: pa.RecordBatch) -> tuple[float, float]:
    begun = time.perf_counter()
    transforms = [Transform(label="it", **step)]
    with transformation(transforms, check=lambda: None, log=logging.getLogger("benchmark")) as transformed:
        list(transformed(batch.slice(0, 1)))
        started = time.perf_counter()
        for changed in transformed(batch):
            assert changed.num_rows
    return started - begun, time.perf_counter() - started


def _bare_python(batch: pa.RecordBatch) -> None:
    code = compile(_CODE, "bare", "exec")
    records = batch.to_pylist()
    for record in records:
        exec(code, {"data": record})
    pa.RecordBatch.from_pylist(records)


def _bare_sql(data: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([data])
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        connection.register("data", table)
        connection.sql(_QUERY).to_arrow_table()


def _median(work: Callable[[], None], count: int) -> float:
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds) / count * 1e6


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
