"""Every pipeline of examples/, run by the engine; another program than Headrace reads what arrived."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import duckdb
import psycopg
import pytest
import yaml
from example_pipelines import EXAMPLES, ROOT, Example, serving_files
from mariadb_server import PASSWORD as MYSQL_PASSWORD
from mariadb_server import MariaDBServer
from postgres_server import PASSWORD

from headrace.connectors import local

pytestmark = pytest.mark.slow

FOLDERS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__")
POSTGRES, MYSQL = "port: 5440", "port: 3310"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines the process by seccomp")
Read = Callable[..., Example]


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Reads the example that the test is named after, with texts of its pipeline replaced."""
    name = request.node.name.removeprefix("test_")
    return lambda **replaced: Example.read(name, tmp_path, replaced.get("texts", {}))


@pytest.fixture
def shop(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A connection to the database that stands for the examples' own."""
    monkeypatch.setenv("PIPELINE_SHOP_PASSWORD", PASSWORD)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def texts_of(shop: psycopg.Connection) -> dict[str, str]:
    return {POSTGRES: f"port: {shop.info.port}", "database: shop": f"database: {shop.info.dbname}"}


def in_duckdb(path: str, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_csv_over_http_to_duckdb(example: Read) -> None:
    with serving_files(EXAMPLES / "csv_over_http_to_duckdb" / "data") as url:
        given = example(texts={"http://127.0.0.1:8901": url})

        assert [given.run(), given.run()] == [5, 5]

    rows = in_duckdb(given.destination["path"], "FROM orders ORDER BY order_id")
    first, last = f"{url}/orders_2026_09.csv", f"{url}/orders_2026_10.csv"
    assert (len(rows), rows[0], rows[4]) == (
        5,
        (1001, "Ada Lovelace", "2026-09-03", 129.9, True, first, None),
        (1005, "Katherine Johnson", "2026-10-19", 310.0, False, last, "AUTUMN"),
    )


@contextmanager
def api(script: Path) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(script), "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().removeprefix("Serving ").removesuffix("/customers\n")
        finally:
            server.kill()


def test_rest_to_postgres(example: Read, shop: psycopg.Connection) -> None:
    changed = {"id": 7, "name": "Ada", "address": {"city": "Rome"}, "updated_at": "2026-11-01T08:00:00Z"}
    with api(EXAMPLES / "rest_to_postgres" / "server.py") as url:
        given = example(texts={"http://127.0.0.1:8902": url, **texts_of(shop)})
        first = given.run()
        before = shop.execute("SELECT * FROM crm.customers ORDER BY id").fetchall()
        urlopen(Request(f"{url}/customers", data=json.dumps(changed).encode())).close()
        second = given.run()
    after = shop.execute("SELECT * FROM crm.customers ORDER BY id").fetchall()

    assert (first, second) == (250, 1)  # not those that are as old as the newest one of the first run
    assert before[6] == (7, "Customer 7", {"city": "Bern"}, "2026-10-08T08:00:00Z")
    assert after[6] == tuple(changed.values())
    assert after[:6] + after[7:] == before[:6] + before[7:]


def test_postgres_to_partitioned_parquet(example: Read, shop: psycopg.Connection) -> None:
    given = example(texts=texts_of(shop))
    shop.execute((given.folder / "seed.sql").read_text())
    lake = Path(given.destination["path"]) / "orders"

    first = given.run()
    files = set(lake.rglob("*.parquet"))
    shop.execute("INSERT INTO orders VALUES (1201, 'DE', '2026-10-10', 8.5, '2026-10-10T08:00:00Z')")
    second = given.run()

    assert (first, second) == (1200, 1)
    [added] = set(lake.rglob("*.parquet")) - files
    assert added.parent == lake / "country=DE" / "day=2026-10-10"
    written = f"read_parquet('{lake}/**/*.parquet', hive_partitioning = true)"
    read = "SELECT id, country, day::DATE, total, epoch_us(ordered_at) FROM {} ORDER BY id"
    stored = (
        "SELECT id, country, day, total, extract(epoch FROM ordered_at) * 1000000 FROM orders ORDER BY id"
    )
    assert duckdb.execute(read.format(written)).fetchall() == shop.execute(stored).fetchall()


def test_mysql_to_duckdb(
    example: Read,
    mariadb_server: MariaDBServer,
    mysql_config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIPELINE_MYSQL_PASSWORD", MYSQL_PASSWORD)
    texts = {
        MYSQL: f"port: {mysql_config['port']}",
        "database: shop": f"database: {mysql_config['database']}",
    }
    given = example(texts=texts)
    with mariadb_server.connection(mysql_config["database"]) as connection, connection.cursor() as cursor:
        for statement in filter(str.strip, (given.folder / "seed.sql").read_text().split(";\n")):
            cursor.execute(statement)

    assert given.run() == 3

    rows = in_duckdb(given.destination["path"], "FROM raw.invoices ORDER BY id")
    assert rows == [
        (1, "Zoë Müller", Decimal("0.1000"), datetime(2026, 10, 1, 9, 30, 0, 1), 1),  # noqa: DTZ001 - MySQL's
        (2, "Łukasz Żak", Decimal("9999999999999999.9999"), datetime(2026, 10, 2), 0),  # noqa: DTZ001 - the same
        (3, "黒沢 明", Decimal("12.5000"), datetime(2026, 10, 31, 23, 59, 59, 999999), None),  # noqa: DTZ001 - too
    ]


def test_incremental_merge(example: Read) -> None:
    given = example()
    app = given.config["source"]["path"]

    given.seed(app)
    first = given.run()
    given.seed(app, "--change")
    second, third = given.run(), given.run()

    assert (first, second) == (3, 2)
    with closing(sqlite3.connect(app)) as connection:
        stored = connection.execute("SELECT * FROM customers ORDER BY id").fetchall()
    assert in_duckdb(given.destination["path"], "FROM customers ORDER BY id") == stored
    assert third <= 1  # no more than the row that is as old as the cursor
    assert len(stored) == 4


@ON_LINUX
def test_transforms(example: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SALT", "a long random text")
    given = example()

    assert given.run() == 2

    with closing(sqlite3.connect(given.destination["path"])) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM contacts ORDER BY signed_up")]
    hashes = [row.pop("email_hash") for row in rows]
    assert rows == [
        {"name": "Ada Lovelace", "signed_up": "2026-10-01", "decade": 30},
        {"name": "Grace Hopper", "signed_up": "2026-10-04", "decade": 70},
    ]
    assert [len(text) for text in hashes] == [64, 64]
    assert len(set(hashes)) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning:dlt")  # dlt's own source calls what dlt gives up
def test_dlt(example: Read) -> None:
    given = example()
    app = given.config["source"]["params"]["credentials"].removeprefix("sqlite:///")
    moved = []

    for _ in range(2):
        given.seed(app)
        moved.append(given.run())
    moved.append(given.run())

    assert moved == [2, 2, 0]
    path = given.destination["params"]["credentials"]
    assert in_duckdb(path, "SELECT id, name, price::DECIMAL(10, 2) FROM shop.products ORDER BY id") == [
        (id_, name, price)
        for id_, (name, price) in enumerate(
            [("Kettle", Decimal("39.90")), ("Teapot", Decimal("24.50"))] * 2, start=1
        )
    ]


def test_python_source(example: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_folder", local.LocalFolder(EXAMPLES / "python_source"))
    with serving_files(EXAMPLES / "python_source" / "data") as url:
        given = example(texts={"http://127.0.0.1:8903": url})

        assert [given.run(), given.run()] == [2, 0]

    assert in_duckdb(given.destination["path"], "FROM news ORDER BY published") == [
        ("tag:example.org,2026:1", "The wheel turns", ["water", "wood"], "2026-10-01T08:00:00Z"),
        ("tag:example.org,2026:2", "A second headrace", ["water"], "2026-10-14T17:30:00Z"),
    ]


@pytest.mark.parametrize("name", FOLDERS)
def test_each_example_has_a_test_and_a_line_on_the_front_page(name: str) -> None:
    assert f"test_{name}" in globals()
    assert f"]({name}/README.md)" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_page_of_an_example_runs_its_pipeline_and_its_links_lead_somewhere(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text()
    document = yaml.safe_load((EXAMPLES / name / "pipeline.yaml").read_text())

    assert f".venv/bin/headrace pipelines create -f examples/{name}/pipeline.yaml" in page
    assert f'.venv/bin/headrace pipelines run "{document["name"]}" --follow' in page
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (EXAMPLES / name / link).resolve().is_relative_to(ROOT)
        assert (EXAMPLES / name / link).exists(), link
