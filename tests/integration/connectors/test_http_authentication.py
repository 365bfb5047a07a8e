"""Each way to authenticate, as a server sees it."""

import base64
import threading
from dataclasses import dataclass, field

import pytest
from http_servers.server import Answer, Asked, Server, serving
from pydantic import TypeAdapter

from headrace.connectors import Unauthorized
from headrace.connectors.kit.http.authentication import Authentication
from headrace.connectors.kit.http.authorization import TokenNotGiven, authenticated_client
from headrace.connectors.kit.http.messages import Request
from headrace.connectors.kit.network.limits import Limits

READ = TypeAdapter(Authentication)
SECRET = "the-client-secret"


def headers_of(authentication: dict[str, object]) -> dict[str, str]:
    """What a server receives."""
    with serving(lambda asked: Answer(body=[])) as server:
        with authenticated_client(READ.validate_python(authentication)) as client:
            client.send(Request(url=server.url))
        return server.asked[0].headers


@dataclass
class TokenServer:
    """Gives out numbered access tokens, of which only the latest is good."""

    lifetime: float = 3600
    tokens: int = 0
    exchanges: list[dict[str, str]] = field(default_factory=list)
    refuses: bool = False
    nested: bool = False

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self._exchange(asked)
        good = asked.headers.get("authorization") == f"Bearer token-{self.tokens}"
        return Answer(body=[asked.path]) if good else Answer(status=401, body={"message": "expired"})

    def _exchange(self, asked: Asked) -> Answer:
        self.exchanges.append(asked.form)
        if self.refuses:
            return Answer(status=400, body={"error": "invalid_grant", "error_description": SECRET})
        self.tokens += 1
        given = {"access_token": f"token-{self.tokens}", "expires_in": self.lifetime}
        given |= {"refresh_token": f"refresh-{self.tokens}"}
        return Answer(body={"data": {"tokens": given}} if self.nested else given)


def oauth(server: Server, **params: object):
    given = {
        "token_refresh_endpoint": f"{server.url}/token",
        "client_id": "me",
        "client_secret": SECRET,
        "refresh_token": "refresh-0",
    }
    authentication = READ.validate_python({"type": "oauth", "params": given | params})
    return authenticated_client(authentication, limits=Limits(attempts=3))


@pytest.mark.parametrize("kind", ["api_key", "bearer"])
def test_a_token_is_sent_as_a_bearer(kind: str):
    headers = headers_of({"type": kind, "params": {"token": SECRET}})

    assert headers["authorization"] == f"Bearer {SECRET}"


def test_a_token_is_sent_in_the_header_and_with_the_word_that_are_named():
    params = {"token": SECRET, "auth_header": "X-Api-Key", "auth_method": ""}

    headers = headers_of({"type": "api_key", "params": params})

    assert headers["x-api-key"] == SECRET
    assert "authorization" not in headers


def test_a_name_and_a_password_are_sent_as_basic():
    headers = headers_of({"type": "basic", "params": {"username": "me", "password": "pässword:1"}})

    kind, _, encoded = headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(encoded).decode()) == ("Basic", "me:pässword:1")


def test_cookies_are_sent_with_their_headers():
    params = {"cookies": {"session": SECRET, "b": "2"}, "headers": {"X-CSRF": "c"}}

    headers = headers_of({"type": "cookies", "params": params})

    assert (headers["cookie"], headers["x-csrf"]) == (f"session={SECRET}; b=2", "c")


def test_an_access_token_is_fetched_once_and_used_until_it_ends():
    tokens = TokenServer()
    with serving(tokens.answer) as server, oauth(server, scopes=["a", "b"]) as client:
        for _ in range(3):
            client.send(Request(url=f"{server.url}/data"))

    [exchange] = tokens.exchanges
    assert exchange == {
        "grant_type": "refresh_token",
        "client_id": "me",
        "client_secret": SECRET,
        "refresh_token": "refresh-0",
        "scope": "a b",
    }


def test_an_access_token_is_fetched_anew_before_it_ends_with_the_refresh_token_that_came_with_it():
    tokens = TokenServer(lifetime=0)
    with serving(tokens.answer) as server, oauth(server) as client:
        for _ in range(3):
            client.send(Request(url=f"{server.url}/data"))

    assert [exchange["refresh_token"] for exchange in tokens.exchanges] == [
        "refresh-0",
        "refresh-1",
        "refresh-2",
    ]


def test_a_token_that_is_refused_is_replaced_once():
    tokens = TokenServer()
    with serving(tokens.answer) as server, oauth(server) as client:
        client.send(Request(url=f"{server.url}/data"))
        tokens.tokens = 5  # revoked: the server now wants another one

        answer = client.send(Request(url=f"{server.url}/data"))

    assert answer.json() == ["/data"]
    assert len(tokens.exchanges) == 2


def test_a_second_refusal_ends_the_run():
    def handler(asked: Asked) -> Answer:
        return Answer(body={"access_token": "t"}) if asked.path == "/token" else Answer(status=401)

    with serving(handler) as server, oauth(server) as client:
        with pytest.raises(Unauthorized):
            client.send(Request(url=f"{server.url}/data"))

        assert [asked.path for asked in server.asked] == ["/token", "/data", "/token", "/data"]


def test_threads_share_one_exchange():
    tokens = TokenServer()
    with serving(tokens.answer) as server, oauth(server) as client:
        asking = [
            threading.Thread(target=client.send, args=[Request(url=f"{server.url}/data")]) for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()

    assert len(tokens.exchanges) == 1


def test_tokens_are_found_where_the_configuration_says():
    tokens = TokenServer(nested=True)
    with serving(tokens.answer) as server, oauth(server, response_field_path="data.tokens") as client:
        assert client.send(Request(url=f"{server.url}/data")).json() == ["/data"]


def test_a_refused_exchange_says_so_without_a_secret():
    tokens = TokenServer(refuses=True)
    with serving(tokens.answer) as server, oauth(server) as client, pytest.raises(TokenNotGiven) as caught:
        client.send(Request(url=f"{server.url}/data"))

    assert caught.value.detail == "The token endpoint answered 400."


@pytest.mark.parametrize("body", [b"<html>", {}, [], {"access_token": None}, {"access_token": {}}])
def test_an_answer_without_a_token_is_told(body: object):
    with (
        serving(lambda asked: Answer(body=body)) as server,
        oauth(server) as client,
        pytest.raises(TokenNotGiven),
    ):
        client.send(Request(url=f"{server.url}/data"))
