"""The limit: what the parts take that no engine can do without, each alone and added up.

From PostgreSQL: the server's binary COPY, received and thrown away; and Arrow that lies ready in memory
written as Parquet, as the engine's file is (zstd, no dictionaries but for `status`). Into PostgreSQL: also
the same bytes sent back by binary COPY. Into DuckDB: also that Parquet file made a table. From a REST API:
every page fetched with urllib3, and thrown away undecoded.

Its first run on a table prepares the Arrow data and the COPY's bytes beside the folder, unmeasured.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Print the sum of the parts, and each."""
    parts = fetch_pages(job) if job["source"] == "rest" else from_postgres(job)
    said = {
        "rows": job["rows"],
        "seconds": sum(wall for wall, _ in parts.values()),
        "cpu": sum(cpu for _, cpu in parts.values()),
        "parts": {name: round(wall, 2) for name, (wall, _) in parts.items()},
    }
    print(json.dumps(said))


def prepare(job: dict[str, Any]) -> None:
    """Write the table down as Arrow, for the Parquet writer, and as the bytes of COPY."""
    import psycopg
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi

    query = (
        "SELECT id, account, kind, active, (amount * 100)::int8 AS amount, score, ratio, token, name, status,"
        f" note, born, made, changed, key::text AS key, extra::text AS extra FROM {job['stream']}"
    )
    with dbapi.connect(job["source_url"]) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        fields = [
            pa.field("amount", pa.decimal128(12, 2)) if f.name == "amount" else f for f in reader.schema
        ]
        with pa.OSFile(_arrow(job), "wb") as sink, pa.ipc.new_file(sink, pa.schema(fields)) as writer:
            batches = [_with_decimals(batch) for batch in reader]
            for batch in pa.Table.from_batches(batches).combine_chunks().to_batches(122_880):
                writer.write_batch(batch)
    statement = f"COPY {job['stream']} TO STDOUT (FORMAT binary)"
    with psycopg.connect(job["source_url"]) as other, other.cursor().copy(statement) as copy:
        _copy(job).write_bytes(b"".join(copy))


def from_postgres(job: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Time the parts of a line from PostgreSQL."""
    import psycopg
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(job["folder"]) / "limit.parquet"
    with psycopg.connect(job["source_url"]) as connection:
        read = timed(lambda: drain(connection, f"COPY {job['stream']} TO STDOUT (FORMAT binary)"))
    with pa.memory_map(_arrow(job)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
        parts = {
            "copy out": read,
            "parquet": timed(
                lambda: pq.write_table(
                    table,
                    path,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=["status"],
                    row_group_size=122_880,
                )
            ),
        }
    if job["target"] == "postgres":
        parts["copy in"] = timed(lambda: send(job))
    if job["target"] == "duckdb":
        parts["duckdb"] = timed(lambda: duckdb_table(job, path))
    return parts


def drain(connection: Any, statement: str) -> None:
    """Receive a COPY and keep nothing."""
    with connection.cursor().copy(statement) as copy:
        for _ in copy:
            pass


def send(job: dict[str, Any]) -> None:
    """Send the bytes of COPY into a new table of the same types."""
    import psycopg

    with psycopg.connect(job["target_url"]) as connection, _copy(job).open("rb") as file:
        connection.execute(
            "CREATE TABLE copy (id bigint, account int, kind smallint, active boolean, amount numeric(12, 2),"
            " score float8, ratio real, token text, name text, status text, note text, born date,"
            " made timestamp, changed timestamptz, key uuid, extra jsonb)"
        )
        with connection.cursor().copy("COPY copy FROM STDIN (FORMAT binary)") as copy:
            while piece := file.read(256 * 1024):
                copy.write(piece)


def duckdb_table(job: dict[str, Any], path: Path) -> None:
    """Let DuckDB read the file into a table."""
    import duckdb

    with duckdb.connect(f"{job['folder']}/limit.duckdb") as connection:
        connection.execute(f"CREATE TABLE copy AS SELECT * FROM read_parquet('{path}')")


def fetch_pages(job: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Time the transfer of every page; the cursors are known to be the pages' numbers."""
    import urllib3

    pages = -(-job["rows"] // 100)
    with urllib3.PoolManager() as pools:

        def fetch() -> None:
            for page in range(pages):
                assert pools.request("GET", f"{job['rest_url']}/contacts?after={page}").data

        return {"fetch": timed(fetch)}


def timed(part: Callable[[], None]) -> tuple[float, float]:
    """Return the wall seconds and the CPU seconds that a call takes."""
    began, used = time.perf_counter(), time.process_time()
    part()
    return time.perf_counter() - began, time.process_time() - used


def _with_decimals(batch: Any) -> Any:
    import pyarrow as pa

    index = batch.schema.get_field_index("amount")
    units = batch.column(index).cast(pa.decimal128(19, 0))
    exact = pa.Array.from_buffers(pa.decimal128(12, 2), len(units), units.buffers())
    return batch.set_column(index, pa.field("amount", exact.type), exact)


def _arrow(job: dict[str, Any]) -> str:
    return f"{Path(job['folder']).parent}/{job['stream']}.arrow"


def _copy(job: dict[str, Any]) -> Path:
    return Path(job["folder"]).parent / f"{job['stream']}.copy"


if __name__ == "__main__":
    (prepare if sys.argv[2:] == ["prepare"] else main)(json.loads(sys.argv[1]))
