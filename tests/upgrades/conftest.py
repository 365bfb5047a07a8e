"""Each earlier version's home on each database: all of them, or a few of them where time is short."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from effort import LONG
from old_homes import HOMES, OldHome, unpack
from postgres_server import PostgresServer

_FEW = {("0001", "sqlite"), ("0004", "postgresql")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `home` the homes that are there."""
    if "home" in metafunc.fixturenames:
        homes = sorted(tuple(path.name.removesuffix(".tar.xz").split("-")) for path in HOMES.iterdir())
        chosen = [home for home in homes if LONG or home in _FEW]
        metafunc.parametrize("home", chosen, ids="-".join, indirect=True)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldHome]:
    """A home of an earlier version, as a power cut has left it."""
    version, database = request.param
    if database == "sqlite":
        yield unpack(version, tmp_path / "old", None)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.fresh_database()
    yield unpack(version, tmp_path / "old", url)
    server.drop_database(url)
