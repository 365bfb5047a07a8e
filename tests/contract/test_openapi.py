"""The OpenAPI document against the served API: what it lets clients send, the service answers as it says.

`HEADRACE_TEST_REQUESTS=200` tries more requests of each operation.
"""

import re
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
import uvicorn
from effort import times
from http_service import DUMMY_CONFIG, service_over
from hypothesis import HealthCheck, assume, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from headrace.service.platform import Platform, owner_token
from headrace.settings import load_settings
from headrace_api.app import ENDPOINTS
from headrace_api.documentation.openapi import openapi

pytestmark = pytest.mark.slow

EXAMPLES = times("REQUESTS", 20, 200)

schema = schemathesis.openapi.from_dict(openapi(list(ENDPOINTS)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The owner's client of a service that is served over TCP."""
    opened = Platform.open(load_settings(tmp_path_factory.mktemp("home") / "headrace"), migrate=True)
    server = uvicorn.Server(uvicorn.Config(service_over(opened).app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {owner_token(opened.settings)}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        yield client
    server.should_exit = True
    thread.join()
    opened.close()


@pytest.fixture
def stored(client: httpx.Client) -> dict[str, str]:
    """Ids of things that exist, so that more than 404 is answered."""
    pipeline = client.post("/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG}).json()
    run = client.post(f"/api/pipelines/{pipeline['id']}/run").json()
    domains = client.get("/api/domains").json() or [client.post("/api/domains", json={"name": "X"}).json()]
    return {"pipeline_id": pipeline["id"], "run_id": run["id"], "domain_id": domains[0]["id"]}


def test_the_document_is_served_as_it_is_made(client: httpx.Client):
    assert client.get("/openapi.json").json() == openapi(list(ENDPOINTS))


@schema.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_an_operation_answers_as_the_document_says(
    case: schemathesis.Case, stored: dict[str, str], client: httpx.Client
):
    # An empty array among the query parameters is a fault that is not sent.
    assume(all(value not in ([], {}) for value in (case.query or {}).values()))
    for name, value in stored.items():
        # Of the ids that are made up, those that end in an even digit stand for what exists.
        if re.fullmatch(r"[0-9a-f-]{35}[02468ace]", str(case.path_parameters.get(name))):
            case.path_parameters[name] = value

    # A config that the document allows may still be wrong: each connector's own model decides.
    case.call_and_validate(
        base_url=str(client.base_url),
        headers={"Authorization": client.headers["authorization"]},
        excluded_checks=[positive_data_acceptance],
    )
