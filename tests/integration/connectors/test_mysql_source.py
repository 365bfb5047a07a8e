"""The source `mysql` against a real MariaDB: types, snapshots, cursors, failures."""

import datetime as dt
import logging
import threading
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from incremental import Read
from mariadb_server import PASSWORD, MariaDBServer

from headrace.connectors import Checkpoint, ReadRequest, SyncMode, Unauthorized, Unreachable, Unreadable
from headrace.connectors.kit.network import addresses
from headrace.connectors.kit.network.addresses import ForbiddenAddress
from headrace.connectors.mysql.connection import connected, execute, fetch
from headrace.connectors.mysql.connector import MySQLSource

Config = dict[str, Any]


@pytest.fixture
def run_sql(mariadb_server: MariaDBServer, mysql_config: Config) -> Any:
    def run(*statements: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with mariadb_server.connection(mysql_config["database"]) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    found = list(cursor.fetchall())
        return found

    return run


def read(config: Config, stream: str, **changes: Any) -> tuple[pa.Table, list[Any]]:
    items = list(MySQLSource(**config).read(ReadRequest(stream=stream, **changes)))
    batches = [item for item in items if isinstance(item, pa.RecordBatch)]
    return pa.Table.from_batches(batches), [item.cursor for item in items if isinstance(item, Checkpoint)]


MOMENT = dt.datetime(2024, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - without a zone on purpose
TYPES = [
    ("tinyint(1)", "1", pa.int8(), 1),
    ("tinyint unsigned", "255", pa.uint8(), 255),
    ("smallint", "-32768", pa.int16(), -32768),
    ("mediumint unsigned", "16777215", pa.uint32(), 16777215),
    ("int", "-2147483648", pa.int32(), -(2**31)),
    ("bigint unsigned", "18446744073709551615", pa.uint64(), 2**64 - 1),
    ("decimal(38,9)", "12345678901234567890123456789.123456789", pa.decimal128(38, 9),
     Decimal("12345678901234567890123456789.123456789")),
    ("decimal(65,30)", f"{'9' * 35}.{'1' * 30}", pa.string(), f"{'9' * 35}.{'1' * 30}"),
    ("float", "16777215", pa.float32(), 16777215.0),
    ("float", "-0.1", pa.float32(), pa.scalar(-0.1, pa.float32()).as_py()),
    ("double", "0.1e0 + 0.2e0", pa.float64(), 0.1 + 0.2),
    ("double", "1.7976931348623157e308", pa.float64(), 1.7976931348623157e308),
    ("double", "5e-324", pa.float64(), 5e-324),
    ("bit(1)", "b'1'", pa.bool_(), True),
    ("bit(64)", "0xFFFFFFFFFFFFFFFF", pa.uint64(), 2**64 - 1),
    ("year", "1901", pa.int16(), 1901),
    ("date", "'1000-01-01'", pa.date32(), dt.date(1000, 1, 1)),
    ("datetime(6)", "'2024-01-02 03:04:05.678901'", pa.timestamp("us"), MOMENT),
    ("timestamp(3)", "FROM_UNIXTIME(1700000000.123)", pa.timestamp("us", "UTC"),
     dt.datetime(2023, 11, 14, 22, 13, 20, 123000, dt.UTC)),
    ("time(6)", "'-838:59:59.000001'", pa.string(), "-838:59:59.000001"),
    ("char(5)", "'a'", pa.string(), "a"),
    ("varchar(20) CHARACTER SET latin1", "'caf\u00e9'", pa.string(), "caf\u00e9"),
    ("longtext CHARACTER SET utf8mb4", "'\u00fc\U0001f600\\n'", pa.string(), "\u00fc\U0001f600\n"),
    ("text", "'a\\0b'", pa.string(), "a\0b"),
    ("enum('x','y')", "'y'", pa.string(), "y"),
    ("set('x','y')", "'y,x'", pa.string(), "x,y"),
    ("json", "'{\"a\": 1.10}'", pa.string(), '{"a": 1.10}'),
    ("binary(3)", "0xFF00", pa.binary(), b"\xff\0\0"),
    ("longblob", "0x00FF", pa.binary(), b"\0\xff"),
    ("point", "POINT(1, 2)", pa.binary(), bytes.fromhex("0101000000000000000000f03f0000000000000040")),
    ("uuid", "'00000000-0000-0000-0000-000000000005'", pa.string(), "00000000-0000-0000-0000-000000000005"),
    ("inet6", "'::1'", pa.string(), "::1"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "constant", "kind", "value"), TYPES, ids=lambda value: str(value)[:30])
def test_a_value_of_every_type_is_read_exactly_and_null_stays_null(
    mysql_config: Config, run_sql: Any, declared: str, constant: str, kind: pa.DataType, value: Any
) -> None:
    run_sql(
        f"CREATE TABLE items (n INT, v {declared} NULL)",
        f"INSERT INTO items VALUES (1, {constant}), (2, NULL)",
    )

    table, _ = read(mysql_config, "items")

    assert table.schema.field("v").type == kind
    assert table.column("v").to_pylist() == [value, None]


def test_dates_that_do_not_exist_become_null_and_are_counted(
    mysql_config: Config, run_sql: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run_sql(
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
        "CREATE TABLE items (d date, t datetime)",
        "INSERT INTO items VALUES ('0000-00-00', NULL), ('2024-02-31', '2024-01-00 10:00:00')",
        "INSERT INTO items VALUES ('2024-02-29', '2024-02-29 23:59:59')",
    )

    with caplog.at_level(logging.WARNING, "headrace.connector"):
        table, _ = read(mysql_config, "items")

    assert table.column("d").to_pylist() == [None, None, dt.date(2024, 2, 29)]
    assert table.column("t").to_pylist() == [None, None, dt.datetime(2024, 2, 29, 23, 59, 59)]  # noqa: DTZ001
    assert [record.getMessage() for record in caplog.records] == [
        "Rows with a date that does not exist in 'd', 't' are null there. (2)"
    ]


def test_an_empty_table_yields_one_empty_batch_with_its_schema(mysql_config: Config, run_sql: Any) -> None:
    run_sql("CREATE TABLE items (id INT, v DECIMAL(5, 2))")

    table, _ = read(mysql_config, "items")

    assert table.num_rows == 0
    assert table.schema == pa.schema([("id", pa.int32()), ("v", pa.decimal128(5, 2))])


@pytest.mark.parametrize(
    "name", ['we"ird', "Gr\u00f6\u00dfe", "select", "it's", "a.b", "%s$1", "`b`", "\\", "x" * 64]
)
def test_any_identifier_is_read_as_it_is_written(mysql_config: Config, run_sql: Any, name: str) -> None:
    sql = "`" + name.replace("`", "``") + "`"
    run_sql(f"CREATE TABLE {sql} ({sql} INT)", f"INSERT INTO {sql} VALUES (1)")

    found = Read(MySQLSource(**mysql_config), name, name)

    assert (found.rows, found.value) == ([{name: 1}], 1)


def test_streams_are_tables_and_views_with_their_keys(mysql_config: Config, run_sql: Any) -> None:
    run_sql(
        "CREATE TABLE orders (a INT, b INT, PRIMARY KEY (b, a)) COMMENT 'What was bought'",
        "CREATE VIEW seen AS SELECT a FROM orders",
    )
    source = MySQLSource(**mysql_config)

    found = {stream.name: (stream.primary_key, stream.description) for stream in source.streams()}

    assert found == {"orders": (("b", "a"), "What was bought"), "seen": ((), "")}
    assert source.describe("orders").primary_key == ("b", "a")
    assert source.check().endswith(f"database '{mysql_config['database']}' with 2 readable tables and views.")
    with pytest.raises(Unreadable, match="no readable table or view 'ORDER'"):
        source.describe("ORDER")


def test_a_run_reads_one_snapshot_whatever_is_written_meanwhile(mysql_config: Config, run_sql: Any) -> None:
    run_sql("CREATE TABLE items (id INT PRIMARY KEY)", "INSERT INTO items SELECT seq FROM seq_1_to_50000")
    batches = MySQLSource(**mysql_config).read(ReadRequest(stream="items"))

    read_rows = next(batches).num_rows
    run_sql("DELETE FROM items WHERE id > 10", "INSERT INTO items VALUES (99999)")
    read_rows += sum(batch.num_rows for batch in batches)

    assert read_rows == 50000


CURSORS = [
    ("bigint unsigned", [1, 2, 2**64 - 1], 2**64 - 2),
    ("decimal(30,10)", ["1.0000000001", "1.0000000002", "1.0000000003"], "1.0000000002"),
    ("datetime(6)", [f"2024-01-02 03:04:05.00000{n}" for n in range(3)], "2024-01-02 03:04:05.000001"),
    ("timestamp(6)", [f"2024-01-02 03:04:05.00000{n}" for n in range(3)], "2024-01-02T03:04:05.000001Z"),
    ("varchar(10)", ["A", "B", "a"], "B"),
]


@pytest.mark.parametrize(("declared", "values", "cursor"), CURSORS)
def test_an_incremental_run_goes_on_after_the_cursor_in_its_order(
    mysql_config: Config, run_sql: Any, declared: str, values: list[Any], cursor: Any
) -> None:
    listed = ", ".join(f"('{value}')" for value in reversed(values))
    run_sql(f"CREATE TABLE items (v {declared} NULL)", f"INSERT INTO items VALUES (NULL), {listed}")
    source = MySQLSource(**mysql_config)

    everything = Read(source, "items", "v")
    rest = Read(source, "items", "v", cursor)
    nothing = Read(source, "items", "v", everything.cursor)

    assert len(everything.rows) == 4
    assert rest.column("v") == everything.column("v")[3:]
    assert (nothing.rows, nothing.cursor) == ([], everything.cursor)


def test_ties_and_rows_without_a_real_date_come_once(mysql_config: Config, run_sql: Any) -> None:
    source = MySQLSource(**mysql_config)
    run_sql("SET SESSION sql_mode = ''", "CREATE TABLE items (id INT, v DATE NULL)")
    run_sql("INSERT INTO items VALUES (1, '2024-01-01'), (2, NULL)")
    first = Read(source, "items", "v")
    run_sql("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
            "INSERT INTO items VALUES (3, '2024-01-01'), (4, NULL), (5, '0000-00-00')")  # fmt: skip
    second = Read(source, "items", "v", first.cursor)

    assert (sorted(first.column("id")), sorted(second.column("id"))) == ([1, 2], [3, 4, 5])
    assert Read(source, "items", "v", second.cursor).rows == []


def test_a_late_commit_is_found_within_the_lookback_and_the_log_says_so_without_one(
    mysql_config: Config, run_sql: Any, caplog: pytest.LogCaptureFixture
) -> None:
    source = MySQLSource(**mysql_config)
    run_sql("CREATE TABLE items (id INT, v INT)", "INSERT INTO items VALUES (1, 10), (2, 8)")
    first = Read(source, "items", "v", lookback=5)
    run_sql("INSERT INTO items VALUES (3, 6)")

    assert Read(source, "items", "v", first.cursor, lookback=5).column("id") == [3]
    with caplog.at_level(logging.INFO, "headrace.connector"):
        assert Read(source, "items", "v", first.cursor).rows == []
    assert "Set `lookback`" in caplog.text


@pytest.mark.parametrize(
    ("field", "cursor", "message"),
    [
        (None, None, "needs cursor_field"),
        ("nope", None, "no column 'nope'"),
        ("j", None, "cannot serve as a cursor"),
        ("id", "1 OR 1=1", "is not a value of column 'id'"),
        ("id", True, "is not a value of column 'id'"),
    ],
)
def test_an_impossible_cursor_is_refused_with_a_reason(
    mysql_config: Config, run_sql: Any, field: str | None, cursor: Any, message: str
) -> None:
    run_sql("CREATE TABLE items (id INT, j LONGTEXT)")

    with pytest.raises(Unreadable, match=message):
        read(mysql_config, "items", sync_mode=SyncMode.INCREMENTAL, cursor_field=field, cursor=cursor)


def test_a_reader_that_stops_early_leaves_no_session_behind(mysql_config: Config, run_sql: Any) -> None:
    run_sql("CREATE TABLE items (id INT)", "INSERT INTO items SELECT seq FROM seq_1_to_200000")

    batches = MySQLSource(**mysql_config).read(ReadRequest(stream="items"))
    next(batches)
    batches.close()  # type: ignore[attr-defined]

    query = "SELECT count(*) FROM information_schema.processlist WHERE user = 'loader'"
    stopped = threading.Event()
    while run_sql(query) != [(0,)]:
        assert not stopped.wait(0.05)


def test_a_refused_password_is_unauthorized_and_is_not_repeated(mysql_config: Config) -> None:
    with pytest.raises(Unauthorized) as refused:
        MySQLSource(**mysql_config | {"password": "wr0ng-secret"}).check()

    assert "wr0ng-secret" not in repr(refused.value)


def test_a_socket_serves_as_well_as_a_host(mariadb_server: MariaDBServer, mysql_config: Config) -> None:
    config = {"socket": str(mariadb_server.socket), "database": mysql_config["database"], "user": "root"}

    assert "MariaDB" in MySQLSource(**config).check()
    with pytest.raises(Unreachable):
        MySQLSource(**config | {"socket": "/nowhere"}).check()


def test_addresses_that_are_not_allowed_are_not_connected_to(
    mysql_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(addresses._policy, "private_networks", False)

    with pytest.raises(ForbiddenAddress):
        MySQLSource(**mysql_config).check()


@pytest.mark.parametrize(
    ("tls", "knows_the_authority", "host", "works"),
    [
        ("prefer", False, "127.0.0.1", True),
        ("require", False, "127.0.0.1", True),
        ("verify-ca", True, "localhost", True),
        ("verify-ca", False, "127.0.0.1", False),
        ("verify-identity", True, "127.0.0.1", True),
        ("verify-identity", True, "localhost", False),
    ],
)
def test_a_connection_is_encrypted_and_the_certificate_is_looked_at_as_configured(
    mariadb_server: MariaDBServer,
    mysql_config: Config,
    tls: str,
    knows_the_authority: bool,
    host: str,
    works: bool,
) -> None:
    authority = {"tls_ca": str(mariadb_server.certificate)} if knows_the_authority else {}
    source = MySQLSource(**mysql_config | {"tls": tls, "host": host} | authority)

    if not works:
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            source.check()
        return
    with connected(source, Unreadable) as connection:
        assert fetch(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1]


def test_tls_can_be_turned_off(mysql_config: Config) -> None:
    with connected(MySQLSource(**mysql_config | {"tls": "disable"}), Unreadable) as connection:
        assert fetch(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'") == [("Ssl_cipher", "")]


def test_a_server_cannot_ask_for_a_file_of_this_machine(mysql_config: Config, run_sql: Any) -> None:
    run_sql("CREATE TABLE items (v TEXT)")

    with pytest.raises(Unreadable), connected(MySQLSource(**mysql_config), Unreadable) as connection:
        execute(connection, "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE items")

    assert run_sql("SELECT * FROM items") == []
    assert PASSWORD not in repr(MySQLSource(**mysql_config))
