"""Every option of a library's reader or writer is on docs/library-options.md, with the choice."""

import inspect
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import adbc_driver_postgresql
import duckdb
import psycopg
import pyarrow.parquet as pq
import pymysql.connections
import pytest
from google.cloud.bigquery import CopyJobConfig, LoadJobConfig, QueryJobConfig
from google.cloud.bigquery.format_options import ParquetOptions
from mariadb_server import MariaDBServer
from pyarrow import csv, ipc
from pyarrow import json as pa_json

_PAGE = (Path(__file__).parents[2] / "docs" / "library-options.md").read_text()
_NOT_OPTIONS = {"self", "source", "where", "options"}


def _attributes(options: Any) -> set[str]:
    names = (name for name in dir(options) if not name.startswith("_"))
    return {name for name in names if not callable(getattr(options, name))}


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - _NOT_OPTIONS - {"schema"}


def _properties(*kinds: type) -> set[str]:
    return {name for kind in kinds for name in dir(kind) if isinstance(getattr(kind, name), property)}


def _libpq() -> set[str]:
    return {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}


def _adbc() -> set[str]:
    kinds = (adbc_driver_postgresql.ConnectionOptions, adbc_driver_postgresql.StatementOptions)
    return {str(option.value) for kind in kinds for option in kind}


def _pragmas() -> set[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        return {name for (name,) in connection.execute("PRAGMA pragma_list")}


def _settings_of_duckdb() -> set[str]:
    """Return the settings that may touch a value, an order or what Arrow gets."""
    words = "arrow|null|order|zone|calendar|collation|binary|integer|float|zero|cast|dialect|case|semantics"
    with duckdb.connect() as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM duckdb_settings()").fetchall()]
    return {name for name in names if re.search(words, name.lower())} - _NOT_OF_VALUES


# Of the names that `_settings_of_duckdb` finds: how joins are planned, and where files are cached.
_NOT_OF_VALUES = {
    "approximate_join_order_threshold", "dynamic_or_filter_threshold", "ordered_aggregate_threshold",
}  # fmt: skip


def _parquet_reader_of_duckdb() -> set[str]:
    with duckdb.connect() as connection:
        query = "SELECT parameters FROM duckdb_functions() WHERE function_name = 'read_parquet'"
        return {name for (names,) in connection.execute(query).fetchall() for name in names}


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ("pyarrow: CSV", _attributes(csv.ReadOptions())),
        ("pyarrow: CSV", _attributes(csv.ParseOptions())),
        ("pyarrow: CSV", _attributes(csv.ConvertOptions())),
        ("pyarrow: Parquet, reading", _parameters(pq.ParquetFile.__init__)),
        ("pyarrow: Parquet, reading", _parameters(pq.ParquetFile.iter_batches)),
        ("pyarrow: Parquet, writing", _parameters(pq.ParquetWriter.__init__)),
        ("pyarrow: Arrow files", _attributes(ipc.IpcReadOptions())),
        ("pyarrow and msgspec: JSON", _attributes(pa_json.ReadOptions())),
        ("pyarrow and msgspec: JSON", _attributes(pa_json.ParseOptions())),
        ("pyarrow and msgspec: JSON", {"type", "strict", "dec_hook", "float_hook"}),
        ("DuckDB: reading a run's output", _parquet_reader_of_duckdb()),
        ("DuckDB: settings", _settings_of_duckdb()),
        ("PostgreSQL: the driver", _libpq()),
        ("PostgreSQL: the driver", _adbc()),
        ("PyMySQL", _parameters(pymysql.connections.Connection.__init__)),
        ("SQLite: pragmas", _pragmas()),
        ("Google's client for BigQuery", _properties(LoadJobConfig, QueryJobConfig, CopyJobConfig)),
        ("Google's client for BigQuery", _properties(ParquetOptions)),
    ],
)
def test_each_option_is_named_with_the_choice(section: str, options: set[str]) -> None:
    assert options - _named(section) == set()


def test_each_setting_of_a_users_of_postgresql_is_named_with_the_choice(postgres_url: str) -> None:
    query = (
        "SELECT name FROM pg_settings WHERE context IN ('user', 'superuser') AND (category LIKE"
        " 'Client Connection Defaults / %' OR category LIKE 'Version and Platform Compatibility / %')"
    )
    with psycopg.connect(postgres_url) as connection:
        names = {name for (name,) in connection.execute(query).fetchall()}

    assert names - _named("PostgreSQL: settings of a user") == set()


def test_each_variable_of_mysql_that_may_touch_a_value_is_named_with_the_choice(
    mariadb_server: MariaDBServer,
) -> None:
    words = "^(character_set|collation|sql_mode|sql_select|sql_auto|sql_safe|time_zone|old_mode|completion"
    words += "|autocommit|init_connect|max_sort|div_prec|group_concat|system_versioning_asof|default_storage"
    words += "|lower_case_table)|isolation"
    with mariadb_server.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW SESSION VARIABLES WHERE variable_name RLIKE '{words}'")
        names = {name for name, _ in cursor.fetchall()}

    assert names - _named("MySQL: variables of a server") == set()


def _named(section: str) -> set[str]:
    text = _PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"`([\w.]+)`", text))


def test_each_test_that_the_page_names_is_there() -> None:
    tests = "".join(path.read_text() for path in (Path(__file__).parents[1]).rglob("test_*.py"))

    for start in re.findall(r"`(test_\w+)…`", _PAGE):
        assert f"def {start}" in tests, start
