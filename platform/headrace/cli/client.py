"""The commands' client of the REST service."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from headrace.errors import Unavailable

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 60.0
_CHUNK_BYTES = 1 << 16


class Unreachable(Unavailable):
    """The REST service does not respond."""

    code = "api.unreachable"
    title = "REST service unreachable"
    hint = "Start it with `headrace up`, or name another service with --url."


class Problem(Exception):
    """The REST service answered with an RFC 9457 problem."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body.get("detail") or body.get("title") or f"HTTP {status}")
        self.status = status
        self.body = body


@dataclass(frozen=True, kw_only=True)
class Event:
    """One server-sent event."""

    name: str
    data: str


class Client:
    """A client of one REST service with one token. Its methods raise Problem and Unreachable."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS), retries=False
        )

    def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON at a path such as `/api/pipelines`. Query parameters that are None are left out."""
        return self._json("GET", path, query=query)

    def pages(self, path: str, *, limit: int, **query: str | int | None) -> list[Any]:
        """Return up to `limit` items of a list, from as many pages as needed."""
        items: list[Any] = []
        while len(items) < limit:
            asked = min(limit - len(items), 1000)
            page = self.get(path, limit=asked, offset=len(items), **query)
            items += page
            if len(page) < asked:
                break
        return items

    def post(self, path: str, body: Any = None, *, idempotency_key: str | None = None) -> Any:
        """Return the JSON answer to a POST."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._json("POST", path, body=body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """Return the JSON answer to a PUT."""
        return self._json("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        """Send a DELETE; return the JSON answer, or None if there is none."""
        return self._json("DELETE", path)

    def stream(self, path: str, **query: str | None) -> Iterator[bytes]:
        """Yield the body at a path in pieces, as they arrive."""
        response = self._send("GET", path, query=query, preload_content=False)
        try:
            yield from response.stream(_CHUNK_BYTES)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"The connection to {self.url} broke: {type(error).__name__}.") from error
        finally:
            response.release_conn()

    def events(self, path: str) -> Iterator[Event]:
        """Yield the server-sent events of a path until the service ends them."""
        response = self._send("GET", path, accept="text/event-stream", preload_content=False, timeout=None)
        try:
            yield from _events(_lines(response.stream(_CHUNK_BYTES)))
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"The connection to {self.url} broke: {type(error).__name__}.") from error
        finally:
            response.release_conn()

    def _json(self, method: str, path: str, **options: Any) -> Any:
        response = self._send(method, path, **options)
        return json.loads(response.data) if response.data else None

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: str = "application/json",
        **options: Any,
    ) -> urllib3.BaseHTTPResponse:
        sent = {**self._headers, "Accept": accept, **(headers or {})}
        try:
            response = self._pool.request(
                method,
                self.url + path,
                fields={key: str(value) for key, value in (query or {}).items() if value is not None},
                headers=sent,
                **({} if body is None else {"json": body}),
                **options,
            )
            if response.status >= 400:
                raise Problem(response.status, _problem(response.data))
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.url} does not respond: {type(error).__name__}.") from error
        return response


def _problem(data: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")


def _events(lines: Iterator[str]) -> Iterator[Event]:
    # https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    name, data = "message", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield Event(name=name, data="\n".join(data))
            name, data = "message", []
