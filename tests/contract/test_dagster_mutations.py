"""Whatever Dagster's schema can change is out of reach for those who may only look, and for other sites."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from dagster_graphql.schema import create_schema
from graphql import (
    ExecutionResult,
    GraphQLField,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    parse,
    subscribe,
    validate,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.records import Role
from headrace.service.web_session import Purpose, SessionSeal
from headrace_dagster.ui.guard import Guard
from headrace_dagster.ui.sign_in import COOKIE, SignIn

SITE = "http://localhost:3000"
SOCKET = "ws://localhost:3000/graphql"
SEAL = SessionSeal(b"k" * 32)
ROLES = {"owner": Role.OWNER, "viewer": Role.VIEWER}
SCHEMA: GraphQLSchema = create_schema().graphql_schema
MUTATIONS: dict[str, GraphQLField] = SCHEMA.mutation_type.fields
EVERY_MUTATION = pytest.mark.parametrize("name", sorted(MUTATIONS))


def document(name: str) -> str:
    """Return a mutation as a client would send it, with each argument that it needs as a variable."""
    field = MUTATIONS[name]
    needed = {key: str(one.type) for key, one in field.args.items() if is_required_argument(one)}
    takes = ", ".join(f"${key}: {kind}" for key, kind in needed.items())
    gives = ", ".join(f"{key}: ${key}" for key in needed)
    answer = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    call = f"{name}{f'({gives})' if gives else ''}{answer}"
    return f"mutation Change{f'({takes})' if takes else ''} {{ {call} }}"


REACHED: list[str] = []


@pytest.fixture
def reached() -> list[str]:
    """What gets through to Dagster."""
    REACHED.clear()
    return REACHED


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The guard before a Dagster that would do anything, by any way in."""

    async def anything(request: Request) -> PlainTextResponse:
        REACHED.append(f"{request.url.query}{(await request.body()).decode()}")
        return PlainTextResponse("done")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            REACHED.append((await websocket.receive_json())["payload"]["query"])
            await websocket.close()

    every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    routes = [Route("/{path:path}", anything, methods=every), WebSocketRoute("/graphql", socket)]
    sign_in = SignIn(SEAL, ROLES.__getitem__)
    guard = Guard(
        Starlette(routes=routes),
        allowed_hosts=("localhost",),
        authenticate=ROLES.__getitem__,
        sign_in=sign_in,
    )
    with TestClient(guard, base_url=SITE, follow_redirects=False) as client:
        yield client


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **headers}


def start(client: TestClient, token: str, query: str) -> None:
    """Start an operation over a socket, as the UI does for its logs, and wait for the socket's end."""
    with client.websocket_connect(SOCKET, headers=bearer(token)) as socket:
        socket.send_json({"id": "1", "type": "start", "payload": {"query": query}})
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def session(token: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={SEAL.seal(token, Purpose.SESSION)}", **headers}


def test_there_are_mutations_and_what_is_sent_are_valid_ones() -> None:
    assert {"launchRun", "terminateRun", "deletePipelineRun", "reloadWorkspace", "wipeAssets"} <= set(
        MUTATIONS
    )
    for name in MUTATIONS:
        assert validate(SCHEMA, parse(document(name))) == [], name


@EVERY_MUTATION
def test_an_owners_mutation_passes_so_that_what_refuses_others_is_the_guard(
    client: TestClient, reached: list[str], name: str
) -> None:
    answer = client.post("/graphql", json={"query": document(name)}, headers=bearer("owner"))

    assert answer.status_code == 200
    assert name in reached[0]


@EVERY_MUTATION
def test_a_viewer_is_refused_each_mutation_however_it_is_put(
    client: TestClient, reached: list[str], name: str
) -> None:
    query = document(name)
    bodies: list[Any] = [
        {"query": query},
        {"query": f"query Look {{ version }} {query}", "operationName": "Look"},
        {"query": f"query Look {{ version }} {query}", "operationName": "Change"},
        {"query": f"# query\n{query}"},
        [{"query": query}],
        [{"query": "{ version }"}, {"query": query}],
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}, "query": query},
        {"id": name, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
    ]
    ways = [bearer("viewer"), session("viewer", Origin=SITE)]

    statuses = {
        client.post("/graphql", json=body, headers=way).status_code for body in bodies for way in ways
    }
    repeated = f'{{"query": "{{ version }}", "query": {json.dumps(query)}}}'
    headers = bearer("viewer", **{"Content-Type": "application/json"})
    statuses.add(client.post("/graphql", content=repeated, headers=headers).status_code)
    # What the guard reads is the body: the address brings nothing in.
    beside = client.post("/graphql", params={"query": query}, json={}, headers=bearer("viewer"))

    assert statuses | {beside.status_code} == {403}
    assert reached == []


@EVERY_MUTATION
@pytest.mark.parametrize("way", [bearer("owner"), session("owner", Origin=SITE)], ids=["token", "session"])
def test_no_mutation_is_taken_but_by_post_and_json(
    client: TestClient, reached: list[str], name: str, way: dict[str, str]
) -> None:
    query = document(name)
    overridden = way | {"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
    refused = [
        client.get("/graphql", params={"query": query}, headers=overridden),
        client.get("/graphql", params={"query": query}, headers=way | {"Accept": "text/html"}),
        client.head("/graphql", params={"query": query}, headers=way),
        client.request("GET", "/graphql", json={"query": query}, headers=way),
        *(client.request(method, "/graphql", json={"query": query}, headers=overridden)
          for method in ("PUT", "PATCH", "DELETE", "OPTIONS")),
        client.post("/graphql", content=json.dumps({"query": query}),
                    headers=way | {"Content-Type": "text/plain"}),
        client.post("/graphql", content=query, headers=way | {"Content-Type": "application/graphql"}),
        client.post("/graphql", data={"query": query}, headers=way),
        client.post("/graphql", data={"operations": query}, files={"map": b"{}"}, headers=way),
        client.post("/graphql", params={"query": query}, headers=way),
        client.post("/graphql/", json={"query": query}, headers=way),
        client.post("/x/../graphql2", json={"query": query}, headers=way),
    ]  # fmt: skip

    assert {answer.status_code for answer in refused} <= {405, 415}
    assert reached == []


@EVERY_MUTATION
@pytest.mark.parametrize("origin", ["http://evil.test", "http://localhost:3001", "null", None])
def test_no_mutation_of_another_site_is_taken_though_the_browser_brings_a_session(
    client: TestClient, reached: list[str], name: str, origin: str | None
) -> None:
    headers = session("owner", **({"Origin": origin} if origin else {}))

    answer = client.post("/graphql", json={"query": document(name)}, headers=headers)

    assert answer.status_code == 403
    assert reached == []


@EVERY_MUTATION
@pytest.mark.parametrize("token", ["owner", "viewer"])
def test_no_mutation_is_taken_from_a_socket(
    client: TestClient, reached: list[str], name: str, token: str
) -> None:
    start(client, token, document(name))

    assert reached == []


def test_a_subscription_is_taken_from_a_socket(client: TestClient, reached: list[str]) -> None:
    query = 'subscription Log { pipelineRunLogs(runId: "x") { __typename } }'

    start(client, "viewer", query)

    assert reached == [query]


@EVERY_MUTATION
def test_nor_would_dagster_carry_out_a_mutation_as_a_subscription(name: str) -> None:
    taken = asyncio.run(_subscribe(document(name)))

    assert isinstance(taken, ExecutionResult)
    assert taken.errors


async def _subscribe(query: str) -> Any:
    return await subscribe(SCHEMA, parse(query))
