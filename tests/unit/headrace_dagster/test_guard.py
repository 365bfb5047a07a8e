import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.records import Role
from headrace.service.platform import Unauthenticated
from headrace.service.web_session import LIFETIME, Purpose, SessionSeal
from headrace_dagster.private.workspace import READ_ONLY_SCOPE
from headrace_dagster.ui.guard import Guard
from headrace_dagster.ui.sign_in import COOKIE, SignIn

HOST = "http://localhost:3000"
SEAL = SessionSeal(b"k" * 32)
TOKENS = {"owner-token": Role.OWNER, "editor-token": Role.EDITOR, "viewer-token": Role.VIEWER}
QUERY = {"query": "query { version }"}
MUTATION = {"query": "query Q { version } mutation M { launchRun }", "operationName": "Q"}


def authenticate(token: str) -> Role:
    if token not in TOKENS:
        raise Unauthenticated("The token is unknown, revoked or expired.")
    return TOKENS[token]


async def graphql(request: Request) -> JSONResponse:
    return JSONResponse({"got": await request.json(), "read_only": request.scope[READ_ONLY_SCOPE]})


async def anything(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {request.url.path}")


async def subscription(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


@pytest.fixture
def client() -> TestClient:
    """A guard before an app that answers everything, as Dagster's does."""
    app = Starlette(
        routes=[
            Route("/graphql", graphql, methods=["POST"]),
            WebSocketRoute("/graphql", subscription),
            Route("/{path:path}", anything, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
        ]
    )
    guard = Guard(
        app,
        allowed_hosts=("localhost", "127.0.0.1", "[::1]"),
        authenticate=authenticate,
        sign_in=SignIn(SEAL, authenticate),
    )
    return TestClient(guard, base_url=HOST, follow_redirects=False)


def bearer(token: str = "owner-token", **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **headers}


def signed_in(client: TestClient, token: str = "owner-token") -> TestClient:
    client.headers["Cookie"] = f"{COOKIE}={SEAL.seal(token, Purpose.SESSION)}"
    return client


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "[::1]"])
def test_known_hosts_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers=bearer(Host=host)).status_code == 200


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "evil.test:3000", "", "[::2]:3000"])
def test_unknown_hosts_are_refused_whatever_they_bring(client: TestClient, host: str) -> None:
    assert client.get("/", headers=bearer(Host=host)).status_code == 421
    assert client.post("/headrace/session", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("path", ["/", "/graphql", "/server_info", "/_next/x.js", "/headrace2/x"])
def test_nothing_is_answered_without_a_token(client: TestClient, path: str) -> None:
    method = "POST" if path == "/graphql" else "GET"

    answer = client.request(method, path, json=QUERY if method == "POST" else None)

    assert answer.status_code == 401


def test_an_unknown_token_is_refused(client: TestClient) -> None:
    answer = client.post("/graphql", json=QUERY, headers=bearer("guessed"))

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "guessed" not in answer.text


def test_a_token_reaches_graphql_with_the_body_unchanged(client: TestClient) -> None:
    answer = client.post("/graphql", json=MUTATION, headers=bearer())

    assert answer.json() == {"got": MUTATION, "read_only": False}


@pytest.mark.parametrize("query", ["query={version}", "query=mutation{launchRun}", ""])
def test_graphql_is_not_answered_to_get(client: TestClient, query: str) -> None:
    assert client.get(f"/graphql?{query}", headers=bearer()).status_code == 405


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "",
        "text/plain;application/json",
    ],
)
def test_graphql_takes_json_only(client: TestClient, content_type: str) -> None:
    headers = bearer(**{"Content-Type": content_type})

    assert client.post("/graphql", content=json.dumps(QUERY), headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/report_asset_materialization/x"),
        ("POST", "/"),
        ("PUT", "/graphql"),
        ("DELETE", "/x"),
        ("OPTIONS", "/graphql"),
        ("GET", "/notebook"),
        ("GET", "/download_debug/1"),
        ("GET", "/logs/x"),
    ],
)
def test_paths_that_headrace_does_not_need_are_closed(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, headers=bearer(**{"Content-Type": "application/json"}))

    assert answer.status_code == 405


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://localhost:8000", "http://localhost"])
def test_another_sites_request_is_refused_though_it_has_a_session(client: TestClient, origin: str) -> None:
    answer = signed_in(client).post("/graphql", json=QUERY, headers={"Origin": origin})

    assert answer.status_code == 403


def test_a_sessions_request_without_an_origin_is_refused(client: TestClient) -> None:
    assert signed_in(client).post("/graphql", json=QUERY).status_code == 403


def test_a_session_reaches_graphql_from_its_own_site(client: TestClient) -> None:
    answer = signed_in(client).post("/graphql", json=QUERY, headers={"Origin": HOST})

    assert answer.json()["got"] == QUERY


def test_a_viewer_reads(client: TestClient) -> None:
    answer = client.post("/graphql", json=QUERY, headers=bearer("viewer-token"))

    assert answer.json() == {"got": QUERY, "read_only": True}


@pytest.mark.parametrize(
    "body",
    [
        MUTATION,
        {"query": "mutation { launchRun }"},
        {"query": "not graphql {"},
        {"query": None},
        {},
        [{"query": "mutation { launchRun }"}],
        "text",
    ],
)
def test_a_viewer_changes_nothing(client: TestClient, body: Any) -> None:
    assert client.post("/graphql", json=body, headers=bearer("viewer-token")).status_code == 403


def test_a_large_request_is_refused(client: TestClient) -> None:
    answer = client.post("/graphql", json={"query": "x" * (4 << 20)}, headers=bearer())

    assert answer.status_code == 413


def test_pages_cannot_be_framed(client: TestClient) -> None:
    assert client.get("/", headers=bearer()).headers["X-Frame-Options"] == "DENY"


def test_a_browser_without_a_session_is_shown_the_sign_in(client: TestClient) -> None:
    answer = client.get('/runs?q="x', headers={"Accept": "text/html"})

    assert answer.status_code == 401
    assert 'action="/headrace/session"' in answer.text
    assert 'value="/runs?q=%22x"' in answer.text


def test_signing_in_gives_a_session_that_scripts_cannot_read(client: TestClient) -> None:
    answer = client.post(
        "/headrace/session", data={"token": " owner-token ", "next": "/runs"}, headers={"Origin": HOST}
    )

    cookie = answer.headers["Set-Cookie"]
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "owner-token" not in cookie
    session = cookie.removeprefix(f"{COOKIE}=").partition(";")[0]
    assert client.get("/", headers={"Cookie": f"{COOKIE}={session}"}).status_code == 200


def test_a_wrong_token_gives_no_session(client: TestClient) -> None:
    answer = client.post("/headrace/session", data={"token": "guessed"})

    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "guessed" not in answer.text


def test_another_site_cannot_sign_somebody_in(client: TestClient) -> None:
    answer = client.post(
        "/headrace/session", data={"token": "owner-token"}, headers={"Origin": "http://evil.test"}
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("elsewhere", ["//evil.test", "https://evil.test", "/\\evil.test", "evil"])
def test_signing_in_leads_to_this_server_only(client: TestClient, elsewhere: str) -> None:
    answer = client.post("/headrace/session", data={"token": "owner-token", "next": elsewhere})

    assert answer.headers["Location"] == "/"


def test_a_ticket_opens_one_session(client: TestClient) -> None:
    ticket = SEAL.seal("owner-token", Purpose.TICKET)

    first, second = (client.get(f"/headrace/open?ticket={ticket}") for _ in range(2))

    assert (first.status_code, first.headers["Location"]) == (303, "/")
    assert COOKIE in first.headers["Set-Cookie"]
    assert second.status_code == 401
    assert "Set-Cookie" not in second.headers


def test_a_ticket_is_no_session_and_a_session_no_ticket(client: TestClient) -> None:
    ticket = SEAL.seal("owner-token", Purpose.TICKET)
    session = SEAL.seal("owner-token", Purpose.SESSION)

    assert client.get("/", headers={"Cookie": f"{COOKIE}={ticket}"}).status_code == 401
    assert client.get(f"/headrace/open?ticket={session}").status_code == 401


def test_a_revoked_tokens_session_is_over(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, "short-lived", Role.OWNER)
    signed_in(client, "short-lived")
    assert client.get("/").status_code == 200

    monkeypatch.delitem(TOKENS, "short-lived")

    assert client.get("/").status_code == 401


def test_an_old_session_is_over(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIFETIME, Purpose.SESSION, -1.0)

    assert signed_in(client).get("/").status_code == 401


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "x",
        "é",
        "A" * 200,
        pytest.param(SessionSeal(b"o" * 32).seal("t", Purpose.SESSION), id="other key"),
    ],
)
def test_a_forged_session_is_none(client: TestClient, cookie: str) -> None:
    headers = {"Cookie": f"{COOKIE}={cookie}".encode()}

    assert client.get("/", headers=headers).status_code == 401


def test_a_subscription_needs_a_session_and_its_own_site(client: TestClient) -> None:
    signed_in(client)

    with client.websocket_connect("ws://localhost:3000/graphql", headers={"Origin": HOST}) as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.test"}])
def test_a_foreign_subscription_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    signed_in(client)

    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://localhost:3000/graphql", headers=headers),
    ):
        pass


def test_a_subscription_with_a_token_needs_no_origin(client: TestClient) -> None:
    with client.websocket_connect("ws://localhost:3000/graphql", headers=bearer()) as socket:
        assert socket.receive_text() == "hello"


def test_a_subscription_elsewhere_is_refused(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://localhost:3000/other", headers=bearer()),
    ):
        pass
