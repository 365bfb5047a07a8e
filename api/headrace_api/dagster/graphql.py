"""Named queries over HTTP, our own pages of Dagster's webserver, and what can go wrong with them.

An error of Dagster's may quote Dagster's own settings. Its text therefore goes into the exception's notes,
which only the platform's log shows, and never into the detail, which clients read.
"""

from collections.abc import Callable, Iterator
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

import httpx
from gql import Client, GraphQLRequest
from gql.client import SyncClientSession
from gql.transport.exceptions import TransportError, TransportQueryError, TransportServerError
from gql.transport.httpx import HTTPXTransport

from headrace.errors import HeadraceError, Unavailable

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 3.0


class DagsterUnavailable(Unavailable):
    """Dagster's webserver did not answer, or not in time. The request may or may not have taken effect."""

    code = "dagster.unavailable"
    title = "Dagster is unavailable"
    hint = "Accepted runs start once Dagster is back. GET /api/ready shows what is down."


class DagsterFailed(Unavailable):
    """Dagster answered with an error of its own."""

    code = "dagster.failed"
    title = "Dagster failed"
    hint = "See the REST service's log and the Dagster UI."


class GraphQL:
    """A connection pool to the webserver at `address`. Safe to use from any thread; never retries.

    `token` is called for each request, so a changed token needs no restart. Proxies from the environment are
    ignored, because Dagster belongs to this installation.
    """

    def __init__(self, address: str, token: Callable[[], str] | None) -> None:
        auth = _Bearer(token) if token else None
        self._pages = httpx.Client(
            base_url=address, auth=auth, timeout=_timeout(ANSWER_SECONDS), trust_env=False
        )
        transport = HTTPXTransport(
            f"{address.rstrip('/')}/graphql",
            auth=auth,
            timeout=_timeout(ANSWER_SECONDS),
            # Shorter than the webserver's own 5 s, so that we never reuse a connection as it closes it.
            limits=httpx.Limits(max_keepalive_connections=10, keepalive_expiry=2.0),
            trust_env=False,
        )
        self._client = Client(transport=transport)
        self._session: SyncClientSession = self._client.connect_sync()  # type: ignore[no-untyped-call]  # gql's

    def close(self) -> None:
        """Close the connections. Requests in flight fail."""
        self._pages.close()
        self._client.close_sync()  # type: ignore[no-untyped-call]  # gql's

    def probe(self, path: str) -> str:
        """Return what one of our pages of the webserver finds wrong. Raises DagsterUnavailable."""
        try:
            answer = self._pages.get(path)
        except httpx.HTTPError as error:
            raise _unreachable(error) from None
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            return answer.text
        if not answer.is_success:
            raise DagsterUnavailable(f"Dagster's webserver answered with HTTP {answer.status_code}.")
        return ""

    def answer(self, query: str, *, seconds: float = ANSWER_SECONDS, **variables: Any) -> dict[str, Any]:
        """Return the query's field `answer`, which may be one of Dagster's errors: see `expect`."""
        found: dict[str, Any] = self.data(query, seconds=seconds, **variables)["answer"]
        return found

    def data(self, query: str, *, seconds: float = ANSWER_SECONDS, **variables: Any) -> dict[str, Any]:
        """Run the query in `queries/` of this name. Raises DagsterUnavailable, DagsterFailed."""
        request = GraphQLRequest(_text(query), variable_values=variables)
        # A PythonError may come with HTTP 500; the transport parses the body whatever the status is.
        try:
            return self._session.execute(request, extra_args={"timeout": _timeout(seconds)})
        except TransportQueryError as error:
            raise _failed("GraphQL error", str(error)) from None
        except TransportServerError as error:
            if error.code in (401, 403):
                raise DagsterUnavailable("Dagster refused the platform's token.") from None
            raise DagsterUnavailable(f"Dagster's webserver answered with HTTP {error.code}.") from None
        except TransportError as error:
            raise _unreachable(error.__cause__) from None


def expect(answer: dict[str, Any], *types: str) -> dict[str, Any]:
    """Return the answer if it has one of these GraphQL types. Raises DagsterFailed."""
    if answer["__typename"] in types:
        return answer
    raise _failed(answer.get("className") or answer["__typename"], answer.get("message") or "")


class _Bearer(httpx.Auth):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]  # asks for no answer
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


@cache
def _text(query: str) -> GraphQLRequest:
    file = resources.files("headrace_api.dagster") / "queries" / f"{query}.graphql"
    return GraphQLRequest(file.read_text(encoding="utf-8"))


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS)


def _failed(kind: str, message: str) -> DagsterFailed:
    error = DagsterFailed(f"Dagster answered with an error ({kind}).")
    error.add_note(message.strip())
    return error


def _unreachable(cause: BaseException | None) -> HeadraceError:
    if isinstance(cause, HeadraceError):
        return cause  # raised by `token`, which the transport calls while it sends the request
    late = isinstance(cause, httpx.TimeoutException)
    return DagsterUnavailable("Dagster did not answer in time." if late else "Dagster cannot be reached.")
