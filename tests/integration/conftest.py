"""Both databases that Headrace keeps its records in: what holds on one must hold on the other."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from postgres_server import PostgresServer
from pydantic import SecretStr

from headrace.encryption import keyring_file
from headrace.service.platform import Platform
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.tokens import Installation


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each kind of database."""
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def migrated_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of each kind."""
    if backend == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "records.db")
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.fresh_database(like=request.getfixturevalue("migrated_postgres"))
    yield url
    server.drop_database(url)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def organization_id(database: Database) -> UUID:
    """The organization of a fresh installation."""
    return Installation(database).organization()


@pytest.fixture
def platform(migrated_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A fresh installation on each kind of database."""
    settings = Settings(
        home=tmp_path / "home",
        config_dir=tmp_path / "config",
        database_url=SecretStr(migrated_url),
        keyring_file=tmp_path / "keyring",
    )
    keyring_file.create(tmp_path / "keyring")
    opened = Platform.open(settings, migrate=True)
    yield opened
    opened.close()
