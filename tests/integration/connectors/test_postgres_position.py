"""Incremental runs of `postgres` find what was committed late, by the transactions that wrote the rows."""

import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from incremental import Read

from headrace.connectors.postgres import position
from headrace.connectors.postgres.connector import PostgresSource


@pytest.fixture
def admin(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, c int, v int)")
        connection.execute("INSERT INTO t VALUES (1, 10, 0), (2, 20, 0)")
        yield connection


def read(url: str, cursor: Any = None, stream: str = "t", **options: Any) -> Read:
    return Read(PostgresSource(url=url), stream, "c", cursor, **options)


@pytest.mark.parametrize("merges", [False, True])
def test_a_row_that_is_committed_late_is_delivered_once(
    postgres_url: str, admin: psycopg.Connection, merges: bool
) -> None:
    with psycopg.connect(postgres_url) as late:
        late.execute("INSERT INTO t VALUES (3, 15, 0)")
        late.execute("SAVEPOINT s")
        late.execute("INSERT INTO t VALUES (4, NULL, 0)")
        first = read(postgres_url, merges=merges)
        admin.execute("INSERT INTO t VALUES (5, 30, 0)")
        second = read(postgres_url, first.cursor, merges=merges)
        late.commit()
    third = read(postgres_url, second.cursor, merges=merges)
    fourth = read(postgres_url, third.cursor, merges=merges)

    assert [sorted(found.column("id")) for found in (first, second, third, fourth)] == [
        [1, 2],
        [5],
        [3, 4],
        [],
    ]


def test_an_update_is_delivered_whatever_it_does_to_the_cursor(
    postgres_url: str, admin: psycopg.Connection
) -> None:
    first = read(postgres_url, merges=True)
    admin.execute("UPDATE t SET c = 1, v = 1 WHERE id = 2")
    second = read(postgres_url, first.cursor, merges=True)
    admin.execute("UPDATE t SET c = NULL, v = 2 WHERE id = 1")

    assert second.column("v") == [1]
    assert read(postgres_url, second.cursor, merges=True).column("v") == [2]


def test_equal_rows_of_two_transactions_are_two_rows(postgres_url: str, admin: psycopg.Connection) -> None:
    admin.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    first = read(postgres_url)
    admin.execute("INSERT INTO t VALUES (2, 20, 0)")

    assert read(postgres_url, first.cursor).column("id") == [2]


def test_nothing_is_read_where_nothing_was_written(
    postgres_url: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(postgres_url)
    monkeypatch.setattr(position, "since", lambda *_: pytest.fail("the table was read"))
    second = read(postgres_url, first.cursor)

    assert (second.rows, second.schema, second.cursor) == ([], first.schema, first.cursor)


def counted(admin: psycopg.Connection) -> None:
    """Have the server count what this session has changed, as ten idle seconds would."""
    admin.execute("SELECT pg_stat_force_next_flush()")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the sessions of the test for idle ones: all that they change is counted at once."""
    at_once = position._SERVER.replace("interval '15 seconds'", "interval '0 seconds'")
    monkeypatch.setattr(position, "_SERVER", at_once.replace("state IS DISTINCT FROM 'idle'", "false"))


def test_new_rows_are_found_from_the_cursor_on_where_the_server_has_counted_no_others(
    postgres_url: str, admin: psycopg.Connection, quiet: None, caplog: pytest.LogCaptureFixture
) -> None:
    counted(admin)
    first = read(postgres_url)
    admin.execute("INSERT INTO t VALUES (3, 20, 0), (4, 30, 0), (5, NULL, 0)")
    counted(admin)
    with caplog.at_level(logging.INFO, "headrace.connector"):
        second = read(postgres_url, first.cursor)

    assert sorted(second.column("id")) == [3, 4, 5]
    assert "whole table" not in caplog.text
    assert read(postgres_url, second.cursor).rows == []


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO t VALUES (6, 1, 0)",
        "UPDATE t SET c = 1 WHERE id = 2",
        "INSERT INTO t VALUES (6, 40, 0); UPDATE t SET c = 5 WHERE id = 6",
    ],
)
def test_a_row_below_the_cursor_is_found_though_others_have_come_above_it(
    postgres_url: str, admin: psycopg.Connection, quiet: None, change: str
) -> None:
    counted(admin)
    first = read(postgres_url, merges=True)
    admin.execute("INSERT INTO t VALUES (3, 30, 0), (4, 31, 0)")
    for statement in change.split(";"):
        admin.execute(statement.encode())
    counted(admin)

    second = read(postgres_url, first.cursor, merges=True)

    assert sorted(second.column("id")) == sorted({3, 4, 2 if "UPDATE t SET c = 1" in change else 6})


def test_counters_that_were_reset_count_for_nothing(
    postgres_url: str, admin: psycopg.Connection, quiet: None
) -> None:
    counted(admin)
    first = read(postgres_url)
    admin.execute("SELECT pg_stat_reset()")
    admin.execute("INSERT INTO t VALUES (3, 15, 0), (4, 16, 0)")  # as many as were counted before
    counted(admin)

    assert sorted(read(postgres_url, first.cursor).column("id")) == [3, 4]


def test_rows_of_a_prepared_transaction_are_delivered_once_it_is_committed(
    postgres_url: str, admin: psycopg.Connection, quiet: None
) -> None:
    for statement in ("BEGIN", "INSERT INTO t VALUES (3, 15, 0)", "PREPARE TRANSACTION 'late'"):
        admin.execute(statement.encode())
    counted(admin)
    first = read(postgres_url)
    nothing = read(postgres_url, first.cursor)
    admin.execute("INSERT INTO t VALUES (4, 30, 0)")
    counted(admin)
    second = read(postgres_url, nothing.cursor)
    admin.execute("COMMIT PREPARED 'late'")
    counted(admin)
    third = read(postgres_url, second.cursor)

    assert [sorted(found.column("id")) for found in (first, nothing, second, third)] == [[1, 2], [], [4], [3]]


def test_a_position_moves_on_before_its_numbers_cannot_be_compared(
    postgres_url: str, admin: psycopg.Connection, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.connectors.postgres.incremental._FAR", 2)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("CREATE TABLE u (id int)")
        counted(admin)
        first = read(postgres_url)
        for _ in range(3):
            other.execute("INSERT INTO u VALUES (1)")
        second = read(postgres_url, first.cursor)
        admin.execute("INSERT INTO t VALUES (3, 15, 0)")
        counted(admin)
        third = read(postgres_url, second.cursor)

    assert second.rows == []
    assert second.cursor["position"]["oldest"] > first.cursor["position"]["oldest"] + 2
    assert third.column("id") == [3]


def test_a_partition_that_is_attached_with_its_rows_is_delivered(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE p (id int, c int) PARTITION BY RANGE (c)")
        connection.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
        connection.execute("CREATE TABLE p2 AS SELECT 2 AS id, 15 AS c")
        connection.execute("INSERT INTO p VALUES (1, 1)")
        first = read(postgres_url, stream="p")
        connection.execute("ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)")
        connection.execute("INSERT INTO p VALUES (3, 1)")
        second = read(postgres_url, first.cursor, stream="p")

    assert sorted(second.column("id")) == [2, 3]
    assert read(postgres_url, second.cursor, stream="p").rows == []


@pytest.mark.parametrize("change", ["cluster", "oldest", "tables"])
def test_a_position_of_another_server_is_not_believed_and_the_run_says_so(
    postgres_url: str, admin: psycopg.Connection, change: str
) -> None:
    first = read(postgres_url)
    wrong = {"cluster": "1/00000001", "oldest": 10**12, "tables": None}[change]
    foreign = first.cursor | {"position": first.cursor["position"] | {change: wrong}}
    admin.execute("INSERT INTO t VALUES (3, 20, 0)")
    second = read(postgres_url, foreign)
    admin.execute("INSERT INTO t VALUES (4, 5, 0)")

    assert second.column("id") == [3]
    assert second.codes == ["postgres.position_unknown"]
    assert read(postgres_url, second.cursor).column("id") == [4]


ANEW = {
    "altered": "ALTER TABLE t ALTER c TYPE bigint",
    "vacuumed": "VACUUM FULL t",
    "replaced": "CREATE TABLE u AS SELECT * FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t",
}


@pytest.mark.parametrize("change", ANEW.values(), ids=ANEW)
def test_rows_of_a_table_that_was_written_anew_are_not_appended_again(
    postgres_url: str, admin: psycopg.Connection, change: str
) -> None:
    first = read(postgres_url)
    admin.execute(change.encode())
    second = read(postgres_url, first.cursor)

    assert (second.rows, second.codes) == ([], ["postgres.position_unknown"])


def test_a_lookback_bounds_what_is_read_for_late_rows(postgres_url: str, admin: psycopg.Connection) -> None:
    first = read(postgres_url, lookback=5)
    admin.execute("INSERT INTO t VALUES (3, 15, 0), (4, 14, 0)")

    assert read(postgres_url, first.cursor, lookback=5).column("id") == [3]


def test_a_view_is_read_by_its_cursor_and_the_log_says_what_that_misses(
    postgres_url: str, admin: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    admin.execute("CREATE VIEW w AS SELECT * FROM t")
    first = read(postgres_url, stream="w")
    admin.execute("INSERT INTO t VALUES (3, 20, 0), (4, NULL, 0)")
    with caplog.at_level(logging.INFO, "headrace.connector"):
        second = read(postgres_url, first.cursor, stream="w")

    assert sorted(second.column("id")) == [3, 4]
    assert "Set `lookback`" in caplog.text
    assert read(postgres_url, second.cursor, stream="w").rows == []


def test_too_many_young_transactions_give_the_position_up(
    postgres_url: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.connectors.postgres.incremental.MOST_TRANSACTIONS", 2)
    with psycopg.connect(postgres_url) as open_transaction:
        open_transaction.execute("INSERT INTO t VALUES (9, 1, 0)")
        for number in range(3, 7):
            admin.execute("INSERT INTO t VALUES (%s, 30, 0)", [number])
        first = read(postgres_url)
    admin.execute("INSERT INTO t VALUES (7, 30, 0)")

    assert (first.codes, "position" in first.cursor) == (["postgres.position_unknown"], False)
    assert read(postgres_url, first.cursor).column("id") == [7]


def test_many_transactions_are_told_by_their_age(
    postgres_url: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position, "_LISTED", 2)
    with psycopg.connect(postgres_url) as late:
        late.execute("INSERT INTO t VALUES (9, 1, 0)")
        for number in range(3, 7):
            admin.execute("INSERT INTO t VALUES (%s, 30, 0)", [number])
        first = read(postgres_url)
        late.commit()
    admin.execute("INSERT INTO t VALUES (7, 2, 0)")

    assert sorted(read(postgres_url, first.cursor).column("id")) == [7, 9]


def test_a_position_survives_being_written_down() -> None:
    made = position.Position(
        cluster="1/1",
        tables={5: 6},
        changes="7 since then",
        snapshot="100:120:",
        oldest=2**32 + 100,
        delivered=frozenset(2**32 + number for number in (101, 102, 103, 110)),
    )

    assert position.Position.from_json(made.to_json()) == made
    assert made.to_json()["delivered"] == "1-3,10"


def test_numbers_of_rows_are_the_low_half_of_a_transactions() -> None:
    now = position.Position(
        cluster="1/1", tables={}, changes=None, snapshot=f"{2**32 - 2}:{2**32 + 9}:", oldest=2**32 - 2
    )

    assert now.with_delivered([2**32 - 1, 5, None], None).delivered == {2**32 - 1, 2**32 + 5}
    assert position.since(now, now) == (f"(xmin = ANY ('{{{2**32 - 2},{2**32 - 1},3,4,5,6,7,8}}'::xid[]))")
