"""Sixteen writers while incremental runs read: no row is missing at the end, and none came twice.

`HEADRACE_TEST_WRITERS_ROWS=1000` plays the long form.
"""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from effort import times
from incremental import Read

from headrace.connectors import Source
from headrace.connectors.mysql.connector import MySQLSource
from headrace.connectors.postgres.connector import PostgresSource
from headrace.connectors.sqlite.connector import SQLiteSource

WRITERS = 16
ROWS = times("WRITERS_ROWS", 60, 1000)
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


def postgres_writer(url: str, updates: bool) -> Callable[[int, random.Random], Rows]:
    def write(number: int, rng: random.Random) -> Rows:
        kept: Rows = {}
        with psycopg.connect(url, autocommit=number % 4 == 0) as connection:
            for row in range(ROWS):
                key, written = f"{number}-{row}", {f"{number}-{row}": row}
                known = rng.choice(list(kept)) if updates and kept and rng.random() < 0.5 else None
                with connection.transaction(force_rollback=rng.random() < 0.1) as outer:
                    if rng.random() < 0.5:  # a savepoint has a transaction number of its own
                        with connection.transaction():
                            connection.execute("INSERT INTO t VALUES (%s, clock_timestamp(), %s)", [key, row])
                    else:
                        connection.execute("INSERT INTO t VALUES (%s, clock_timestamp(), %s)", [key, row])
                    if known:
                        back = rng.choice(["0 s", "1 hour"])  # the cursor of an update may move backwards
                        connection.execute(
                            "UPDATE t SET v = %s, at = clock_timestamp() - %s::interval WHERE id = %s",
                            [row, back, known],
                        )
                        written[known] = row
                    time.sleep(rng.choice([0, 0, 0.001, 0.03]))
                connection.commit() if not connection.autocommit else None
                kept |= {} if outer.force_rollback else written
        return kept

    return write


@pytest.mark.parametrize("merges", [False, True], ids=["append", "merge"])
def test_on_postgres_every_committed_row_is_delivered_once_whenever_it_commits(
    postgres_url: str, merges: bool
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id text PRIMARY KEY, at timestamptz, v int)")
        connection.execute("CREATE INDEX ON t (at)")
    source = PostgresSource(url=postgres_url)

    with writing(postgres_writer(postgres_url, merges)) as (committed, at_work):
        times, last, codes = delivered(source, at_work, merges=merges)

    assert last == committed
    assert codes == []
    if not merges:
        assert times == Counter(dict.fromkeys(committed, 1))


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
