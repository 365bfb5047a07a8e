"""Sixteen writers while incremental runs read: no row is missing at the end, and none came twice.

`HEADRACE_TEST_WRITERS_ROWS=1000` plays the long form. On PostgreSQL the writers also go on until
`HEADRACE_TEST_WRITERS_RUNS` runs have been made.
"""

import logging
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from effort import times
from incremental import Read
from psycopg import sql

from headrace.connectors import Source
from headrace.connectors.mysql.connector import MySQLSource
from headrace.connectors.sqlite.connector import SQLiteSource
from headrace.engine.job import EngineJob
from headrace.engine.run import run_pipeline
from headrace.pipeline.document import parse_config

WRITERS = 16
ROWS = times("WRITERS_ROWS", 60, 1000)
RUNS = times("WRITERS_RUNS", 5, 1000)
AHEAD = 4  # rows that each writer writes for each run, beyond the first
QUIET = logging.getLogger("test.writers")
QUIET.setLevel(logging.WARNING)
Rows = dict[str, int]


@contextmanager
def writing(write: Callable[[int, random.Random], Rows]) -> Iterator[tuple[Rows, Callable[[], bool]]]:
    """Let writers work at once; gives what they have committed by the end, and whether they are at work."""
    committed: Rows = {}
    failures: list[Exception] = []

    def run(number: int) -> None:
        try:
            committed.update(write(number, random.Random(number)))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield committed, lambda: any(thread.is_alive() for thread in threads)
    finally:
        for thread in threads:
            thread.join()
        assert failures == []


def delivered(
    source: Source, at_work: Callable[[], bool], **options: Any
) -> tuple[Counter[str], Rows, list[str]]:
    """Read until the writers have ended, and once more; return how often each row came and its last value."""
    times, last, codes = Counter[str](), Rows(), list[str]()
    cursor, more = None, True
    while more:
        more = at_work()
        found = Read(source, "t", "at", cursor, **options)
        cursor = found.cursor
        times.update(found.column("id"))
        last |= dict(zip(found.column("id"), found.column("v"), strict=True))
        codes += found.codes
        time.sleep(0.02)
    return times, last, codes


class PostgresWriter:
    """Writes rows in transactions of every kind: some commit late, some are prepared, some rolled back."""

    def __init__(self, url: str, number: int, rng: random.Random, *, updates: bool) -> None:
        self.committed: Rows = {}
        self._number, self._rng, self._updates = number, rng, updates
        self._connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self._connection.close()

    def write(self, row: int) -> None:
        """Write one new row, and perhaps change an earlier one, in one transaction."""
        key, run = f"{self._number}-{row}", self._connection.execute
        written = {key: row}
        run("BEGIN")
        if self._rng.random() < 0.5:  # a savepoint has a transaction number of its own
            run("SAVEPOINT undone")
            self._insert(f"{key}-never", row)
            run("ROLLBACK TO SAVEPOINT undone")
            run("SAVEPOINT kept")
        self._insert(key, row)
        if self._updates and self.committed and self._rng.random() < 0.5:
            known = self._rng.choice(list(self.committed))
            back = self._rng.choice(["0 s", "1 hour"])  # the cursor of an update may move backwards
            change = "UPDATE t SET v = %s, at = clock_timestamp() - %s::interval WHERE id = %s"
            run(change, [row, back, known])
            written[known] = row
        self._wait()
        if self._ended(key):
            self.committed |= written

    def _insert(self, key: str, row: int) -> None:
        self._connection.execute("INSERT INTO t VALUES (%s, clock_timestamp(), %s)", [key, row])

    def _ended(self, key: str) -> bool:
        """End the transaction; return whether it was committed."""
        kind, run = self._rng.random(), self._connection.execute
        if kind < 0.1:
            run("ROLLBACK")
            return False
        if kind < 0.8:
            run("COMMIT")
            return True
        name = sql.Literal(f"prepared {key}")
        run(sql.SQL("PREPARE TRANSACTION {}").format(name))
        self._wait()
        is_kept = kind < 0.95
        run(sql.SQL("COMMIT PREPARED {}" if is_kept else "ROLLBACK PREPARED {}").format(name))
        return is_kept

    def _wait(self) -> None:
        time.sleep(self._rng.choice([0, 0, 0.001, 0.03]))


class Move:
    """A pipeline from the table `t` into a SQLite file, run again and again."""

    def __init__(self, url: str, folder: Path) -> None:
        self.codes: list[str] = []
        self.runs = 0
        self._folder, self._path = folder, folder / "moved.sqlite"
        self._config = parse_config({
            "name": "moved",
            "source": {
                "name": "postgres", "url": url, "stream": "public.t", "sync_mode": "incremental",
                "cursor_field": "at",
            },
            "destination": {"name": "sqlite", "config": {"path": str(self._path), "table": "t"}},
        })  # fmt: skip

    def run(self) -> None:
        """Run once. All that is known of the last run is in the destination."""
        self.runs += 1
        path = self._folder / "output.parquet"
        job = EngineJob(output_path=path, pipeline_id="p", run_id=str(self.runs), log=QUIET)
        try:
            run_pipeline(self._config, job)
        except BaseException:
            self.runs = max(self.runs, RUNS)  # the writers wait for no more of them
            raise
        path.unlink()
        self.codes += [warning.code for warning in job.tally.receipt().warnings]

    def rows(self) -> list[tuple[str, int]]:
        """Return what has arrived."""
        with closing(sqlite3.connect(self._path)) as connection:
            return connection.execute("SELECT id, v FROM t ORDER BY id").fetchall()


@pytest.mark.parametrize("merges", [False, True], ids=["append", "merge"])
def test_on_postgres_every_committed_row_arrives_once_whenever_it_commits(
    postgres_url: str, tmp_path: Path, merges: bool
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE t (id text {'PRIMARY KEY' if merges else ''}, at timestamptz, v int)"
        )
        connection.execute("CREATE INDEX ON t (at)")
    move = Move(postgres_url, tmp_path)

    def write(number: int, rng: random.Random) -> Rows:
        writer = PostgresWriter(postgres_url, number, rng, updates=merges)
        with closing(writer):
            for row in count():
                if row >= ROWS and move.runs >= RUNS:
                    return writer.committed
                while row >= ROWS + AHEAD * move.runs and move.runs < RUNS:
                    time.sleep(0.005)  # or the table would grow with the time that the runs take
                writer.write(row)
        raise AssertionError("the rows have no end")

    with writing(write) as (committed, at_work):
        while at_work():
            move.run()
    move.run()

    QUIET.warning("%s runs moved %s rows", f"{move.runs:,}", f"{len(committed):,}")
    assert move.rows() == sorted(committed.items())
    assert move.codes == []


def test_on_sqlite_every_row_is_delivered_once_though_thousands_tie(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (id TEXT, at INTEGER, v INTEGER)")

    def write(number: int, rng: random.Random) -> Rows:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for row in range(ROWS):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO t VALUES (?, strftime('%s'), ?)", [f"{number}-{row}", row])
                connection.execute("COMMIT")
                time.sleep(rng.choice([0, 0.002]))
        return {f"{number}-{row}": row for row in range(ROWS)}

    with writing(write) as (committed, at_work):
        times, last, _ = delivered(SQLiteSource(path=str(path)), at_work)

    assert (times, last) == (Counter(dict.fromkeys(committed, 1)), committed)


def test_on_mariadb_every_row_is_delivered_once_within_the_lookback(
    mysql_config: dict[str, Any],
) -> None:
    address = {name: mysql_config[name] for name in ("host", "port", "database", "user", "password")}

    with closing(pymysql.connect(**address)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id VARCHAR(20), at DATETIME, v INT, KEY (at)) ENGINE = InnoDB")

    def write(number: int, rng: random.Random) -> Rows:
        with closing(pymysql.connect(**address)) as connection, connection.cursor() as cursor:
            for row in range(ROWS):
                cursor.execute("INSERT INTO t VALUES (%s, SYSDATE(), %s)", [f"{number}-{row}", row])
                time.sleep(rng.choice([0, 0.001, 0.03]))
                connection.commit()
        return {f"{number}-{row}": row for row in range(ROWS)}

    with writing(write) as (committed, at_work):
        times, last, _ = delivered(MySQLSource(**mysql_config), at_work, lookback=10)

    assert (times, last) == (Counter(dict.fromkeys(committed, 1)), committed)


def test_a_transaction_that_was_rolled_back_has_the_table_read_once(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id text, at timestamptz, v int)")
        connection.execute("INSERT INTO t VALUES ('a', now(), 1)")
    move = Move(postgres_url, tmp_path)
    move.run()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("INSERT INTO t VALUES ('never', now(), 1)")
        connection.rollback()

    with caplog.at_level(logging.INFO, QUIET.name):
        for _ in range(3):
            move.run()

    assert sum("reading the whole table" in line for line in caplog.messages) == 1
    assert sum("has stored the new cursor" in line for line in caplog.messages) == 1
    assert move.rows() == [("a", 1)]
