"""Fixtures that more than one kind of test needs."""

from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer, run_postgres


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
