"""The source `postgres` against a real server."""

import logging
import socket
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from incremental import Read
from postgres_server import PASSWORD, PostgresServer
from waiting import eventually

from headrace.connectors import (
    Checkpoint,
    ConnectorError,
    ReadRequest,
    SyncMode,
    Unauthorized,
    Unreachable,
    Unreadable,
)
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.kit.sql.loads import Busy
from headrace.connectors.postgres.connector import PostgresSource


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def read(url: str, stream: str, **changes: Any) -> tuple[pa.Table, list[Any]]:
    source = PostgresSource(url=url, **changes.pop("config", {}))
    items = list(source.read(ReadRequest(stream=stream, **changes)))
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    return pa.Table.from_batches(batches), [item.cursor for item in items if isinstance(item, Checkpoint)]


CASES = [
    ("smallint", "-32768", pa.int16(), -32768),
    ("integer", "2147483647", pa.int32(), 2147483647),
    ("bigint", "-9223372036854775808", pa.int64(), -(2**63)),
    ("real", "1.5", pa.float32(), 1.5),
    ("double precision", "0.1", pa.float64(), 0.1),
    ("double precision", "-Infinity", pa.float64(), float("-inf")),
    ("numeric(10,2)", "-12345678.90", pa.decimal128(10, 2), Decimal("-12345678.90")),
    ("numeric(38,9)", "1" * 29 + ".123456789", pa.decimal128(38, 9), Decimal("1" * 29 + ".123456789")),
    ("numeric(50,3)", "9" * 47 + ".999", pa.string(), "9" * 47 + ".999"),
    ("numeric(5,-2)", "1234500", pa.string(), "1234500"),
    ("numeric(2,4)", "0.0012", pa.string(), "0.0012"),
    ("numeric", "1.10", pa.string(), "1.10"),
    ("numeric", "NaN", pa.string(), "NaN"),
    ("numeric", "-Infinity", pa.string(), "-Infinity"),
    ("boolean", "true", pa.bool_(), True),
    ("text", "ünï\n😀", pa.string(), "ünï\n😀"),
    ("text", "", pa.string(), ""),
    ("character varying(5)", "abc", pa.string(), "abc"),
    ("character(3)", "a", pa.string(), "a  "),
    ('"char"', "x", pa.string(), "x"),
    ("name", "x", pa.string(), "x"),
    ("bytea", "\\x00ff", pa.binary(), b"\x00\xff"),
    ("date", "2024-02-29", pa.date32(), date(2024, 2, 29)),
    ("time with time zone", "10:00:00.5+02", pa.string(), "10:00:00.5+02"),
    ("interval", "1 mon -2 days 00:00:00.000001", pa.string(), "P1M-2DT0.000001S"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", pa.string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("json", '{"b": 1,  "a":2}', pa.string(), '{"b": 1,  "a":2}'),
    ("jsonb", '{"b": 1.10}', pa.string(), '{"b": 1.10}'),
    ("inet", "10.0.0.1/8", pa.string(), "10.0.0.1/8"),
    ("cidr", "10.0.0.0/8", pa.string(), "10.0.0.0/8"),
    ("macaddr", "08:00:2b:01:02:03", pa.string(), "08:00:2b:01:02:03"),
    ("bit varying", "10101", pa.string(), "10101"),
    ("money", "-5.50", pa.string(), "-5.50"),
    ("oid", "4294967295", pa.int64(), 4294967295),
    ("point", "(1,2)", pa.string(), "(1,2)"),
    ("int4range", "[1,5)", pa.string(), "[1,5)"),
    ("tsvector", "'a':1", pa.string(), "'a':1"),
    ("integer[]", "{1,NULL,3}", pa.list_(pa.int32()), [1, None, 3]),
    ("text[]", '{a,"b,c",NULL,""}', pa.list_(pa.string()), ["a", "b,c", None, ""]),
    ("integer[]", "{{1,2},{3,4}}", pa.string(), "{{1,2},{3,4}}"),
    ("numeric[]", "{1.10,NaN}", pa.string(), "{1.10,NaN}"),
    ("timestamp[]", "{infinity}", pa.string(), "{infinity}"),
    ("mood", "glad", pa.string(), "glad"),
    ("pair", "(1,b)", pa.string(), "(1,b)"),
    ("small", "3", pa.int32(), 3),
]


@pytest.mark.parametrize(("declared", "text", "arrow", "value"), CASES, ids=lambda value: str(value)[:30])
def test_a_value_of_every_type_is_read_exactly_and_null_stays_null(
    postgres_types: str, declared: str, text: str, arrow: pa.DataType, value: Any
) -> None:
    run_sql(
        postgres_types,
        "DROP TABLE IF EXISTS t",
        f"CREATE TABLE t (v {declared})",
        f"INSERT INTO t VALUES ('{text.replace(chr(39), chr(39) * 2)}'), (NULL)",
    )

    table, _ = read(postgres_types, "public.t")

    assert table.schema.field("v").type == arrow
    assert table["v"].to_pylist() == [value, None]


@pytest.fixture(scope="module")
def postgres_types(postgres_server: Any) -> str:
    url: str = postgres_server.fresh_database()
    run_sql(
        url,
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TYPE pair AS (x int, y text)",
        "CREATE DOMAIN smaller AS int",
        "CREATE DOMAIN small AS smaller CHECK (value > 0)",
    )
    return url


def test_instants_keep_their_microseconds_from_before_christ_to_the_far_future(postgres_url: str) -> None:
    texts = ["4713-01-01 00:00:00 BC", "1969-12-31 23:59:59.999999", "294247-01-10 04:00:54.775807"]
    run_sql(postgres_url, "CREATE TABLE t (v timestamptz)")
    for text in texts:
        run_sql(postgres_url, f"INSERT INTO t VALUES ('{text.replace(' BC', '+00 BC')}')")

    table, _ = read(postgres_url, "t")

    micros = table["v"].cast(pa.int64()).to_pylist()
    assert micros == [-210863520000000000, -1, 2**63 - 1]


def test_infinite_times_nan_and_24_00_become_null_and_are_counted(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t (id int, d date, ts timestamp, tz timestamptz, t time, n numeric(10,2))",
        "INSERT INTO t VALUES (1, 'infinity', '-infinity', 'infinity', '24:00', 'NaN')",
        "INSERT INTO t VALUES (2, '2024-01-01', '2024-01-01', '2024-01-01', '23:59', 1.5)",
        "INSERT INTO t (id, ts) VALUES (3, '294276-12-31')",
    )

    with caplog.at_level(logging.WARNING, "headrace.connector"):
        table, _ = read(postgres_url, "t")

    first, second, third = table.to_pylist()
    assert first == {"id": 1, "d": None, "ts": None, "tz": None, "t": None, "n": None}
    assert None not in second.values()
    assert third["ts"] is None
    assert [record.getMessage() for record in caplog.records] == [
        "Rows with infinity, NaN, 24:00 or too late a time in 'd', 'ts', 'tz', 't', 'n' are null there. (2)"
    ]


def test_an_unbounded_numeric_is_read_as_the_declared_decimal_or_refused_never_rounded(
    postgres_url: str,
) -> None:
    config = {"unbounded_numeric": "decimal(10,2)"}
    run_sql(postgres_url, "CREATE TABLE t (v numeric)", "INSERT INTO t VALUES (1.5), ('Infinity')")

    table, _ = read(postgres_url, "t", config=config)
    run_sql(postgres_url, "INSERT INTO t VALUES (1.234)")

    assert table["v"].to_pylist() == [Decimal("1.50"), None]
    with pytest.raises(Unreadable, match="'v'"):
        read(postgres_url, "t", config=config)


def test_an_empty_table_yields_one_empty_batch_with_its_schema(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t (a int, b numeric(5,1), c text[])")

    batches = list(PostgresSource(url=postgres_url).read(ReadRequest(stream="t")))

    assert [batch.num_rows for batch in batches] == [0]
    assert batches[0].schema.types == [pa.int32(), pa.decimal128(5, 1), pa.list_(pa.string())]


@pytest.mark.parametrize("name", ['we"ird', "Größe", "UPPER", "with space", "select", "it's", "a.b", "%s$1"])
def test_any_identifier_is_read_as_it_is_written(postgres_url: str, name: str) -> None:
    sql = '"' + name.replace('"', '""') + '"'
    run_sql(postgres_url, f"CREATE SCHEMA {sql}", f"CREATE TABLE {sql}.{sql} ({sql} int PRIMARY KEY)")
    run_sql(postgres_url, f"INSERT INTO {sql}.{sql} VALUES (7)")

    stream = PostgresSource(url=postgres_url).describe(f"{name}.{name}")
    found = Read(PostgresSource(url=postgres_url), f"{name}.{name}", name)

    assert stream.primary_key == (name,)
    assert found.rows == [{name: 7}]


def test_a_name_that_two_tables_share_is_refused_and_a_schema_goes_before_public(postgres_url: str) -> None:
    run_sql(
        postgres_url,
        'CREATE SCHEMA a; CREATE SCHEMA "a.b"; CREATE TABLE a."b.c" (); CREATE TABLE "a.b".c ()',
        'CREATE TABLE a.t (inside int); CREATE TABLE "a.t" (outside int)',
    )

    with pytest.raises(Unreadable, match="two tables"):
        PostgresSource(url=postgres_url).describe("a.b.c")
    assert PostgresSource(url=postgres_url).describe("a.t").name == "a.t"


def test_streams_are_the_readable_tables_and_views_with_their_keys(postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE b (x int, y int, z int, PRIMARY KEY (z, x))",
        "CREATE VIEW a AS SELECT 1 AS one",
        "CREATE MATERIALIZED VIEW c AS SELECT 1 AS one",
        "CREATE TABLE p (k int) PARTITION BY RANGE (k)",
        "CREATE TABLE p1 PARTITION OF p DEFAULT",
        "COMMENT ON TABLE b IS 'the second'",
    )

    streams = PostgresSource(url=postgres_url).streams()

    assert [stream.name for stream in streams] == ["public.a", "public.b", "public.c", "public.p"]
    assert streams[1].primary_key == ("z", "x")
    assert streams[1].description == "the second"
    assert streams[1].sync_modes == (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)


def test_a_run_reads_one_snapshot_whatever_is_written_meanwhile(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g")
    batches = PostgresSource(url=postgres_url).read(ReadRequest(stream="t"))

    rows = next(batches).num_rows
    run_sql(postgres_url, "DELETE FROM t WHERE g > 50000", "INSERT INTO t SELECT 1, 'new'")
    rows += sum(batch.num_rows for batch in batches)

    assert rows == 100000


@pytest.mark.parametrize(
    ("declared", "first", "second", "cursor"),
    [
        ("bigint", "1", "9223372036854775806", 9223372036854775806),
        ("timestamptz", "2024-01-01 00:00:00.000001+02", "2024-06-01+00", "2024-06-01T00:00:00+00:00"),
        ("timestamp", "2024-01-01", "2024-01-01 00:00:00.000001", "2024-01-01T00:00:00.000001"),
        ("date", "2024-01-01", "2024-01-02", "2024-01-02"),
        ("numeric(20,3)", "9.5", "10.125", "10.125"),
        ("numeric", "9.5", "10.1250", "10.1250"),
        ("text", "a'b", "o'c\\d", "o'c\\d"),
        ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002",
         "00000000-0000-0000-0000-000000000002"),
    ],
)  # fmt: skip
def test_an_incremental_run_goes_on_after_the_last_cursor(
    postgres_url: str, declared: str, first: str, second: str, cursor: Any
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE TABLE t (id int, c {declared})")
        connection.execute(f"INSERT INTO t VALUES (2, %s::text::{declared})", [second])
        connection.execute(f"INSERT INTO t VALUES (1, %s::text::{declared}), (0, NULL)", [first])

    source = PostgresSource(url=postgres_url)

    everything = Read(source, "t", "c")
    nothing = Read(source, "t", "c", everything.cursor)
    rest = Read(source, "t", "c", first)

    assert everything.column("id") == [0, 1, 2]
    assert everything.value == nothing.value == cursor
    assert nothing.rows == []
    assert rest.column("id") == [2]


def test_a_trial_of_an_incremental_run_never_loses_rows_that_share_a_cursor(postgres_url: str) -> None:
    run_sql(
        postgres_url,
        "CREATE TABLE t AS SELECT g AS id, (g / 1000) * 1000 AS c, repeat('x', 2000) AS pad"
        " FROM generate_series(0, 29999) g",
    )

    source = PostgresSource(url=postgres_url)

    some = Read(source, "t", "c", max_iterations=1)
    rest = Read(source, "t", "c", some.cursor)

    assert 0 < len(some.rows) < 30000
    assert sorted(some.column("id") + rest.column("id")) == list(range(30000))


@pytest.mark.parametrize(
    ("field", "cursor", "message"),
    [
        (None, None, "needs cursor_field"),
        ("nope", None, "no column 'nope'"),
        ("f", None, "cannot serve as a cursor"),
        ("c", {"a": 1}, "stored cursor"),
        ("c", "x'; DROP TABLE t; --", "invalid input syntax"),
    ],
)
def test_an_impossible_cursor_is_refused_with_a_reason(
    postgres_url: str, field: str | None, cursor: Any, message: str
) -> None:
    run_sql(postgres_url, "CREATE TABLE t (c int, f float8)")

    with pytest.raises(Unreadable, match=message):
        read(postgres_url, "t", sync_mode=SyncMode.INCREMENTAL, cursor_field=field, cursor=cursor)


def test_a_refused_password_is_unauthorized_and_is_not_repeated(postgres_url: str) -> None:
    wrong = postgres_url.replace(PASSWORD, "hunter2-hunter2")

    with pytest.raises(Unauthorized) as caught:
        PostgresSource(url=wrong).check()

    assert "hunter2" not in repr(caught.value)
    assert 'password authentication failed for user "postgres"' in caught.value.detail


def test_an_address_where_nothing_listens_is_unreachable(postgres_url: str) -> None:
    config = {"host": "127.0.0.1", "port": 1, "database": "d", "user": "u", "password": "hunter2-hunter2"}

    with pytest.raises(Unreachable) as caught:
        PostgresSource(**config).check()

    assert caught.value.temporary
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@2@h:x/d", "hunter2", "host=h port='hunter2"])
def test_a_malformed_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        PostgresSource(url=url).check()

    assert "hunter2" not in repr(caught.value)


def test_a_missing_table_and_missing_rights_are_told_apart(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t (a int, b int)", "DROP ROLE IF EXISTS reader",
            f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'", "GRANT SELECT (a) ON t TO reader")  # fmt: skip

    with pytest.raises(Unreadable, match="no readable table or view 'nope'"):
        read(postgres_url, "nope")
    with pytest.raises(Unauthorized, match="permission denied"):
        read(postgres_url.replace("postgres:", "reader:").replace("readerql", "postgresql"), "t")


def test_a_server_that_goes_away_in_the_middle_is_unreachable(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 200000) g")
    batches = PostgresSource(url=postgres_url).read(ReadRequest(stream="t"))
    next(batches)

    run_sql(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'",
    )

    with pytest.raises(Unreachable):
        list(batches)


def test_a_reader_that_stops_early_leaves_no_session_behind(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t AS SELECT g, repeat('x', 500) FROM generate_series(1, 200000) g")
    batches = PostgresSource(url=postgres_url).read(ReadRequest(stream="t"))
    next(batches)

    batches.close()

    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headrace'"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        eventually(lambda: connection.execute(query).fetchone() == (0,), what="The end of the session")


def test_check_says_what_was_found(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE t ()")

    sentence = PostgresSource(url=postgres_url).check()

    assert sentence.startswith("PostgreSQL 18")
    assert sentence.endswith("with 1 readable tables and views.")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@127.0.0.1:{port}/d",
        "postgresql://u:p@localhost:{port}/d",
        "postgresql://u:p@example.invalid:{port}/d?hostaddr=127.0.0.1",
        "host=127.0.0.1 port={port} dbname=d user=u",
    ],
)
def test_addresses_that_are_not_allowed_are_not_connected_to(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setitem(addresses._policy, "private_networks", False)

    with pytest.raises(ForbiddenAddress):
        PostgresSource(url=url.format(port=postgres_server.port)).check()


def test_the_first_of_several_hosts_that_answers_is_read(postgres_server: PostgresServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1:{closed.getsockname()[1]},localhost:{postgres_server.port}"
        url = f"postgresql://postgres:{PASSWORD}@{hosts}/postgres"

        assert "readable tables" in PostgresSource(url=url).check()


def test_a_socket_of_this_machine_is_connected_to(postgres_server: PostgresServer) -> None:
    where = {"host": str(postgres_server.folder), "port": postgres_server.port, "database": "postgres"}

    assert "readable tables" in PostgresSource(**where, user="postgres", password=PASSWORD).check()


def test_a_table_that_stays_locked_is_a_temporary_failure(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE TABLE items (id int)")

    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Busy) as caught:
            read(postgres_url, "public.items", config={"limits": {"lock_timeout": 0.2}})

    assert caught.value.temporary
