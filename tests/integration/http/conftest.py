"""The REST service on both databases. Each test has its own organization and sees no other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from http_service import DUMMY_CONFIG, Service, service_over
from starlette.testclient import TestClient

from headrace.service.platform import Platform
from headrace.settings import Settings, load_settings

Create = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform on each kind of database."""
    home = tmp_path_factory.mktemp("home") / "headrace"
    settings = load_settings(home)
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").fresh_database()
        settings = Settings(home=home, database_url=url, keyring_file=_keyring(home.parent))
    opened = Platform.open(settings, migrate=True)
    yield opened
    opened.close()


def _keyring(folder: Path) -> Path:
    """A keyring, because on PostgreSQL none is created automatically."""
    embedded = Platform.open(Settings(home=folder / "keys", config_dir=folder / "config"), migrate=True)
    embedded.close()
    return next(path for path in (folder / "config").rglob("*") if path.is_file())


@pytest.fixture
def service(platform: Platform) -> Service:
    """The application."""
    return service_over(platform)


@pytest.fixture
def owner(service: Service) -> str:
    """The owner token of an empty organization."""
    return service.new_organization()


@pytest.fixture
def client(service: Service, owner: str) -> Iterator[TestClient]:
    """A client with that token."""
    with service.client(owner) as client:
        yield client


@pytest.fixture
def client_with_role(service: Service, client: TestClient) -> Iterator[Callable[[str], TestClient]]:
    """Returns a client of the same organization with a lower role."""
    with ExitStack() as stack:

        def made(role: str) -> TestClient:
            token = client.post("/api/tokens", json={"name": role, "role": role}).json()["token"]
            return stack.enter_context(service.client(token))

        yield made


@pytest.fixture
def stranger(service: Service) -> Iterator[TestClient]:
    """A client of another organization."""
    with service.client(service.new_organization()) as client:
        yield client


@pytest.fixture
def create(client: TestClient) -> Create:
    """Creates a pipeline with the given fields."""

    def create(**fields: Any) -> dict[str, Any]:
        body = {"name": "Creatures", "config": DUMMY_CONFIG, **fields}
        response = client.post("/api/pipelines", json=body)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    return create


@pytest.fixture
def run(service: Service, client: TestClient) -> Callable[[dict[str, Any]], str]:
    """Runs a pipeline to its end and returns the run's id."""

    def run(pipeline: dict[str, Any]) -> str:
        run_id: str = client.post(f"/api/pipelines/{pipeline['id']}/run").json()["id"]
        service.execute(pipeline["id"], run_id)
        return run_id

    return run
