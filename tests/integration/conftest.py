"""Both databases that Headrace keeps its records in: what holds on one must hold on the other."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from headrace.encryption import keyring_file
from headrace.service.platform import Platform
from headrace.settings import Settings
from headrace.store.database import Database
from headrace.store.migrations import migrate
from headrace.store.tokens import Installation


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(database_url)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def organization_id(database: Database) -> UUID:
    """The organization of a fresh installation."""
    return Installation(database).organization()


@pytest.fixture
def platform(database_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A fresh installation on each kind of database."""
    settings = Settings(
        home=tmp_path / "home",
        config_dir=tmp_path / "config",
        database_url=SecretStr(database_url),
        keyring_file=tmp_path / "keyring",
    )
    keyring_file.create(tmp_path / "keyring")
    opened = Platform.open(settings, migrate=True)
    yield opened
    opened.close()
