"""What a server's operator or a user has set (ALTER … SET, SET GLOBAL, a file's pragmas) changes no value."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from incremental import Read
from mariadb_server import MariaDBServer
from outputs import request_for
from round_trips import read_back

from headrace.connectors import Unreachable
from headrace.connectors.mysql.connector import MySQLDestination, MySQLSource
from headrace.connectors.postgres.connector import PostgresDestination, PostgresSource
from headrace.connectors.sqlite.connector import SQLiteSource

_POSTGRES_SETTINGS = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-5",
    "bytea_output": "escape",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "gin_fuzzy_search_limit": "1",
    "client_encoding": "LATIN1",
    "backslash_quote": "on",
    "default_transaction_isolation": "serializable",
}
_POSTGRES_VALUES = {
    "timestamptz": "2024-03-01 12:00:00.123456+00",
    "timestamptz[]": '{"2024-03-01 12:00:00+00",NULL,infinity}',
    "daterange": "[2024-01-02,2024-03-04)",
    "tstzrange": '["2024-01-02 00:00:00+00",)',
    "interval": "-1 year 2 days -03:04:05.6",
    "interval[]": '{"-1 year 2 days -03:04:05.6"}',
    "double precision": "0.1234567890123456",
    "double precision[]": "{{0.1234567890123456,1},{2,3}}",
    "real[]": "{{1.1234567},{2}}",
    "point": "(0.1234567890123456,2)",
    "bytea": "\\x00ff5c",
    "bytea[]": '{"\\\\x00ff5c",NULL}',
    "text": "ünï\\n'\\",
    "text[]": '{NULL,"NULL","a\\\\b"}',
    "jsonb": '{"a": "\\\\"}',
    "money": "-5.50",
}


def _origin(url: str) -> None:
    names = [f"c{number} {kind}" for number, kind in enumerate(_POSTGRES_VALUES)]
    marks = ", ".join(f"%s::text::{kind}" for kind in _POSTGRES_VALUES)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE origin (id int PRIMARY KEY, {', '.join(names)})".encode())
        connection.execute(
            f"INSERT INTO origin VALUES (1, {marks})".encode(), list(_POSTGRES_VALUES.values())
        )


@pytest.mark.parametrize("name", _POSTGRES_SETTINGS)
def test_a_users_settings_change_no_value_of_postgresql(postgres_url: str, tmp_path: Path, name: str) -> None:
    _origin(postgres_url)
    database, value = postgres_url.rpartition("/")[2], _POSTGRES_SETTINGS[name]
    source, destination = PostgresSource(url=postgres_url), PostgresDestination(url=postgres_url)
    before = read_back(source, "origin")

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} SET {name} = '{value}'".encode())
    under = read_back(source, "origin")
    destination.load(request_for(under, tmp_path, table="copy"))
    destination.load(
        request_for(under, tmp_path, table="copy", disposition="append", schema_contract="freeze")
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {database} RESET {name}".encode())

    assert under.equals(before)
    with psycopg.connect(postgres_url) as connection:
        different = connection.execute("SELECT origin::text, copy::text FROM origin JOIN copy USING (id)")
        rows = different.fetchall()
    assert len(rows) == 2
    assert [one for one, other in rows if one != other] == []


def test_a_setting_under_which_the_driver_knows_no_types_is_named(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        database = postgres_url.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE {database} SET quote_all_identifiers = on".encode())

    with pytest.raises(Unreachable, match="quote_all_identifiers"):
        PostgresSource(url=postgres_url).check()


def test_a_backslash_in_a_cursor_of_postgresql_is_a_backslash(postgres_url: str) -> None:
    database = postgres_url.rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE items (id int, at text)")
        connection.execute("INSERT INTO items VALUES (1, 'a\\'), (2, 'a\\\\'' OR true --')")
        connection.execute(f"ALTER DATABASE {database} SET standard_conforming_strings = off".encode())
    source = PostgresSource(url=postgres_url)

    first = Read(source, "public.items", "at", declared="text")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("INSERT INTO items VALUES (3, 'b')")
    second = Read(source, "public.items", "at", first.cursor, declared="text")

    assert sorted(first.column("id")) == [1, 2]
    assert second.column("id") == [3]


_MYSQL_VARIABLES = {
    "sql_mode": "''",
    "sql_mode = ORACLE": "'ORACLE'",
    "time_zone": "'+05:45'",
    "sql_select_limit": "2",
    "sql_auto_is_null": "1",
    "completion_type": "2",
    "character_set_server": "latin1",
    "collation_connection": "latin1_german2_ci",
    "default_storage_engine": "MyISAM",
    "tx_isolation": "'READ-UNCOMMITTED'",  # MySQL: transaction_isolation
    "autocommit": "0",
    "init_connect": "'SET sql_mode = PIPES_AS_CONCAT, sql_select_limit = 1'",
    "div_precision_increment": "0",
    "max_sort_length": "64",
}


@contextmanager
def _set_globally(server: MariaDBServer, name: str, value: str) -> Iterator[None]:
    name = name.partition(" ")[0]
    with server.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT @@GLOBAL.{name}")
        ((before,),) = cursor.fetchall()
        cursor.execute(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            cursor.execute(f"SET GLOBAL {name} = %s", [before])


@pytest.mark.parametrize("name", _MYSQL_VARIABLES)
def test_a_servers_variables_change_no_value_of_mysql(
    mariadb_server: MariaDBServer, mysql_config: dict[str, Any], tmp_path: Path, name: str
) -> None:
    moments = pa.array([0, 1, 10**15 + 1, None], pa.timestamp("us"))
    table = pa.table({
        "id": [1, 2, 3, 4], "at": moments, "instant": moments.cast(pa.timestamp("us", "UTC")),
        "text": ["ünï\\n'\\", "a ", "", None], "bytes": [b"\x00\xff\\", b"", b"'", None],
        "float": pa.array([0.1, -0.0, 1e300, None]),
        "decimal": [Decimal("0.10"), Decimal("-1.23"), None, None],
        "time": pa.array([1, 2, 3, None], pa.time64("us")),
    })  # fmt: skip
    source, destination = MySQLSource(**mysql_config), MySQLDestination(**mysql_config)
    destination.load(request_for(table, tmp_path, table="before"))
    with mariadb_server.connection(mysql_config["database"]) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE zero (id int, d date, t timestamp(6) NULL, c char(3), f float)")
        cursor.execute("SET sql_mode = ''")
        cursor.execute(
            "INSERT INTO zero VALUES (1, '0000-00-00', '2024-07-01 12:00:00.5', 'a', 0.1),"
            " (2, NULL, NULL, NULL, 1)"
        )
    before, zero = read_back(source, "before"), read_back(source, "zero")

    with _set_globally(mariadb_server, name, _MYSQL_VARIABLES[name]):
        again, zero_again = read_back(source, "before"), read_back(source, "zero")
        destination.load(request_for(table, tmp_path, table="under"))
        destination.load(request_for(table, tmp_path, table="under", disposition="append"))

    assert again.equals(before)
    assert zero_again.equals(zero)
    under = read_back(source, "under")
    assert under.sort_by("id").equals(pa.concat_tables([before, before]).sort_by("id"))


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_a_text_cursor_of_sqlite_has_one_order_in_every_encoding_of_the_file(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "it.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute("CREATE TABLE items (id INTEGER, at TEXT)")
        connection.executemany("INSERT INTO items VALUES (?, ?)", [(1, "a"), (2, "\u0100"), (3, "\uffee")])
        source = SQLiteSource(path=str(path))

        first = Read(source, "items", "at", declared="text")
        connection.executemany(
            "INSERT INTO items VALUES (?, ?)", [(4, "\uffef"), (5, "\U00010000"), (6, "\uffee")]
        )
        second = Read(source, "items", "at", first.cursor, declared="text")
        third = Read(source, "items", "at", second.cursor, declared="text")

    assert sorted(first.column("id")) == [1, 2, 3]
    assert sorted(second.column("id")) == [4, 5, 6]
    assert third.column("id") == []


def test_a_files_pragmas_and_strict_tables_change_no_value_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "it.sqlite"
    values = [(1, "ünï", 0.1, b"\xff", 7), (2, None, None, None, None)]
    tables = []
    for pragmas in ("", "PRAGMA encoding = 'UTF-16'; PRAGMA auto_vacuum = 1; PRAGMA journal_mode = WAL;"):
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(
                f"{pragmas} CREATE TABLE items (id INT, t TEXT, r REAL, b BLOB, a ANY) STRICT"
            )
            connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", values)
        tables.append(read_back(SQLiteSource(path=str(path)), "items"))

    assert tables[0].equals(tables[1])
    assert [tuple(row.values()) for row in tables[0].to_pylist()] == values
