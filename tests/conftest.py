"""Fixtures that more than one kind of test needs."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import effort
import process_state
import pytest
from mariadb_server import MISSING, MariaDBServer, is_installed, run_mariadb
from parallel import ByPlatform, number_of_processes, ordered
from postgres_server import PostgresServer, run_postgres
from s3_server import S3Server, run_s3

from headrace.store.database import Database
from headrace.store.migrations import migrate

_MEMORY = Path("/dev/shm")
_ROOM = 2 * 1024**3

effort.load_profile()


def pytest_configure() -> None:
    """Put temporary files into memory if there is room, where creating one is ten times faster than on disk.

    Also make this process react to interrupts.
    """
    chosen = "TMPDIR" in os.environ
    if not chosen and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
    # Children of a background job ignore SIGINT, and some tests send it to their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Say how many processes `--numprocesses auto` starts."""
    return number_of_processes()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPlatform:
    """Share the tests out by the servers that they need."""
    return ByPlatform(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless it is asked for, and put the others into their order."""
    long = [item for item in items if not effort.LONG and item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
    left_out = set(long)
    items[:] = ordered([item for item in items if item not in left_out])


@pytest.fixture(scope="module", autouse=True)
def _leaves_the_interior() -> Iterator[None]:
    """Fail a file whose tests leave a logger, a global of ours or something replaced in Dagster changed."""
    before = process_state.interior()
    yield
    left = process_state.changes(before, process_state.interior())
    assert not left, f"The tests of this file leave what others share: {left}"


@pytest.fixture(autouse=True)
def _leaves_the_surroundings() -> Iterator[None]:
    """Fail a test that leaves the folder, the environment, signals or the like changed."""
    process_state.forget_installation()
    before = process_state.surroundings()
    yield
    left = process_state.changes(before, process_state.surroundings())
    assert not left, f"This test leaves what others share: {left}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real PostgreSQL server, started for the first test that asks for it."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The `postgresql://` URL of an empty database of the test's own."""
    url = postgres_server.fresh_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, for copies: to migrate one for each test takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """A migrated database of PostgreSQL, for copies."""
    url = postgres_server.fresh_database()
    _migrate(url)
    return url


def _migrate(url: str) -> None:
    database = Database(url)
    migrate(database)
    database.close()  # on SQLite this brings what the log holds into the file


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One real S3-compatible store, started for the first test that asks for it."""
    with run_s3() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """One real MariaDB server, started for the first test that asks for it; skips where there is none."""
    if not is_installed():
        pytest.skip(MISSING)
    with run_mariadb() as server:
        yield server


@pytest.fixture
def mysql_config(mariadb_server: MariaDBServer) -> Iterator[dict[str, Any]]:
    """What reaches an empty MariaDB database of the test's own."""
    config = mariadb_server.fresh_database()
    yield config
    mariadb_server.drop_database(config)
