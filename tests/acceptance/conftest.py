"""A platform that the acceptance tests share, with its records in SQLite and then in PostgreSQL."""

from collections.abc import Generator, Iterator

import pytest
from live_platform import LivePlatform, Watch, make_keyring, running
from postgres_server import PostgresServer
from warehouse import Warehouse


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[LivePlatform]:
    """A running platform."""
    home = tmp_path_factory.mktemp(request.param) / "home"
    url = None
    if request.param == "postgres":
        url = postgres_server.fresh_database()
        make_keyring(home)
    with running(home, database_url=url) as started:
        yield started


@pytest.fixture(scope="session")
def every_minute(platform: LivePlatform) -> Iterator[Watch]:
    """The runs of a pipeline whose schedule fires each minute, whatever the tests do meanwhile."""
    creatures = {"name": "dummy", "stream": "creatures", "records": 300, "sleep": 0.2}
    pipeline = platform.create("Every minute", creatures, schedule="* * * * *")
    with Watch(platform, pipeline) as watch:
        yield watch


@pytest.fixture(scope="session")
def warehouse(postgres_server: PostgresServer) -> Warehouse:
    """A database to read from and to load into."""
    return Warehouse.made_on(postgres_server)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, "pytest.TestReport", None]:
    """Show the platform's logs with the report of a failed test."""
    outcome = yield
    report = outcome.get_result()
    given = getattr(item, "funcargs", {})
    platform = given.get("platform") or getattr(given.get("cluster"), "platform", None)
    if report.failed and isinstance(platform, LivePlatform):
        report.sections.append(("logs of the platform", platform.logs()))
