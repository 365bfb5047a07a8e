"""Dagster's storage beside the records."""

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from headrace.settings import Settings
from headrace_dagster import storage


@pytest.fixture
def postgres_url_in_tokyo(postgres_url: str) -> str:
    """A database whose sessions have another time zone."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone = 'Asia/Tokyo'")
    return postgres_url


def test_dagsters_times_are_in_utc_wherever_the_server_stands(postgres_url_in_tokyo: str) -> None:
    engine = create_engine(storage.postgres_url(Settings(database_url=SecretStr(postgres_url_in_tokyo))))

    with engine.connect() as connection:
        zone = connection.execute(text("SHOW timezone")).scalar()
    engine.dispose()

    with psycopg.connect(postgres_url_in_tokyo) as connection:
        servers = connection.execute("SHOW timezone").fetchone()
    assert (zone, servers) == ("UTC", ("Asia/Tokyo",))
