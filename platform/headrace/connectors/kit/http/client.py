"""The connectors' HTTP client: guarded addresses, retries that obey the server, bounded answers.

An answer's body is read whole and bounded. No text of an error holds a URL's query, a header's value, or a
server's words as they came: each may carry a credential.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Self
from urllib.parse import urljoin

import urllib3

from headrace.connectors import ConnectorError, Unauthorized, Unreachable, Unreadable, Untrusted
from headrace.connectors.kit.http.messages import Request, Response, origin
from headrace.connectors.kit.network import bodies, connections
from headrace.connectors.kit.network.deadlines import TooSlow
from headrace.connectors.kit.network.limits import Limits
from headrace.connectors.kit.network.tries import RETRIED, RateLimited, Tries
from headrace.masking import SHORTEST_ANYWHERE

_CHUNK = 256 * 1024
_REDIRECTS = 5
_KEPT_ACROSS_HOSTS = ("accept", "accept-encoding", "user-agent")
_OWN_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "headrace"}
_OPAQUE = re.compile(r"(?=[^\s\"']*\d)[\w.~+/=%:-]{20,}")


class RequestRefused(Unreadable):
    """The server did not accept the request (4xx): a wrong path, parameter or body."""

    code = "source.request_refused"
    title = "Request refused"
    hint = "Compare the path, the parameters and the body with the API's documentation."


class ResponseTooLarge(Unreadable):
    """One answer is larger than `limits.response_bytes`."""

    code = "source.response_too_large"
    title = "Answer too large"
    hint = "Ask for smaller pages, or raise limits.response_bytes."


class Stopped(Exception):
    """The client was closed. It never reaches a user: who closes a client has left already."""


class Authorization:
    """The headers that say who asks; these never change."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        self._headers = dict(headers or {})

    def headers(self) -> dict[str, str]:
        """Return what to send with the next request. Raises ConnectorError where it must be fetched first."""
        return self._headers

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Whether there is something else to try after the server refused these headers with 401."""
        return False

    def close(self) -> None:
        """End what the authorization waits for, and its connections."""


class HttpClient:
    """Sends requests over kept connections; threads may share it.

    `secrets` are texts that no message may show, besides what the authorization sends.
    """

    def __init__(
        self,
        *,
        authorization: Authorization | None = None,
        limits: Limits | None = None,
        secrets: Iterable[str] = (),
        log: logging.Logger | None = None,
    ) -> None:
        self._authorization = authorization or Authorization()
        self._limits = limits or Limits()
        self._secrets = tuple(secrets)
        self._log = log or logging.getLogger("headrace.http")
        bounds = connections.Bounds(
            connect=self._limits.connect_timeout, answer=self._limits.response_timeout
        )
        self._pools = connections.pool_manager(bounds)
        self._pace = _Pace(self._limits.requests_per_second)
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections and end every wait, from any thread; a transfer ends at its next bytes."""
        self._stopped.set()
        self._authorization.close()
        self._pools.clear()

    def said(self, answer: Response) -> str:
        """Return what an answer's error says to people, without secrets; empty where it says nothing."""
        return self._masked(answer.message, self._authorization.headers())

    def send(self, request: Request, *, accept: Collection[int] = ()) -> Response:
        """Send a request until it is answered, and return the answer: 2xx, or a status in `accept`.

        Retries broken connections, 408, 429 and 5xx, as slowly as the server asks; renews the authorization
        once after a 401. Raises ConnectorError, and Stopped.
        """
        renewed = False
        tries = Tries(self._limits)
        while True:
            self._sleep(self._pace.reserve())
            authorized = self._authorization.headers()
            try:
                answer = self._exchange(request, authorized)
            except _Broken as broken:
                reason = f"{request.label}: {broken}"
                self._wait(tries.pause(), reason, Unreachable(reason))
                continue
            if answer.status < 300 or answer.status in accept:
                return answer
            if answer.status == 401 and not renewed and not tries.is_last:
                renewed = self._authorization.renew(authorized)
                if renewed:
                    tries.pause()
                    continue
            self._wait_for(answer, tries, authorized)

    def _wait_for(self, answer: Response, tries: Tries, authorized: Mapping[str, str]) -> None:
        """Wait until the request may be sent again. Raises what the answer means where it may not."""
        asked = answer.retry_after
        is_limited = answer.status == 403 and asked is not None  # how some servers say 429
        fault = _fault(answer, self._masked(answer.message, authorized))
        pause = tries.pause(asked) if is_limited or answer.status in RETRIED else None
        self._wait(pause, f"{answer.label} answered {answer.status}", fault)

    def _wait(self, seconds: float | None, reason: str, fault: ConnectorError) -> None:
        if seconds is None:
            raise fault from None
        self._log.info("%s; trying again in %.1f s", reason.rstrip("."), seconds)
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise Stopped

    def _exchange(self, request: Request, authorized: Mapping[str, str]) -> Response:
        """Send once, and again where a redirect leads; what says who asks stays with the first host."""
        body, described = request.content()
        url = request.full_url
        headers = {**_OWN_HEADERS, **described, **request.headers, **authorized}
        timeout = urllib3.Timeout(connect=self._limits.connect_timeout, read=self._limits.read_timeout)
        with _transport_errors(request.label, self._limits):
            for _ in range(_REDIRECTS + 1):
                answer = self._pools.urlopen(
                    request.method,
                    url,
                    body=body,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    timeout=timeout,
                )
                location = answer.get_redirect_location()
                if not location:
                    return self._taken(request, url, answer)
                answer.close()  # and not drained: its body may have no end
                followed = urljoin(url, location)
                if origin(followed) != origin(url):
                    headers = {n: v for n, v in headers.items() if n.lower() in _KEPT_ACROSS_HOSTS}
                url = followed
                if request.method != "GET":
                    break
        raise RequestRefused(f"{request.label} redirects, more often or otherwise than can be followed.")

    def _taken(self, request: Request, url: str, answer: urllib3.BaseHTTPResponse) -> Response:
        body = self._body(request.label, answer)
        answer.release_conn()
        return Response(label=request.label, url=url, status=answer.status, headers=answer.headers, body=body)

    def _body(self, label: str, answer: urllib3.BaseHTTPResponse) -> bytes:
        # Piece by piece, so that no server that never ends fills the memory.
        pieces: list[bytes] = []
        size = 0
        for piece in bodies.pieces(answer, _CHUNK):
            pieces.append(piece)
            size += len(piece)
            if size > self._limits.response_bytes:
                answer.close()
                raise ResponseTooLarge(f"{label} answered more than {self._limits.response_bytes:,} bytes.")
            if self._stopped.is_set():
                answer.close()
                raise Stopped
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _masked(self, text: str, authorized: Mapping[str, str]) -> str:
        words = [word for value in authorized.values() for word in value.split()[-1:]]
        for secret in sorted({*self._secrets, *words}, key=len, reverse=True):
            if len(secret) >= SHORTEST_ANYWHERE:
                text = text.replace(secret, "…")
        return _OPAQUE.sub("…", text)


class _Broken(Exception):
    """The transfer failed in a way that may pass. Its text is a sentence's end, and fit for users."""


class _Pace:
    """Hands out moments that are at least an interval apart."""

    def __init__(self, per_second: float | None) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next moment and return the seconds until it."""
        if not self._interval:
            return 0.0
        with self._lock:
            now = time.monotonic()
            moment = max(now, self._next)
            self._next = moment + self._interval
            return moment - now


class _transport_errors:  # noqa: N801 - reads as the statement that it is
    """Turns what urllib3 raises into `_Broken` where it may pass, and into a ConnectorError where not."""

    def __init__(self, label: str, limits: Limits) -> None:
        self._label, self._limits = label, limits

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if connections.is_untrusted(error):
            raise Untrusted(f"{self._label}: the server's certificate is not trusted.") from None
        if isinstance(error, urllib3.exceptions.LocationValueError):
            raise Unreadable(f"{self._label}: the URL cannot be understood.") from None
        if isinstance(error, urllib3.exceptions.HTTPError):
            raise _Broken(self._sentence(error)) from None
        if isinstance(error, ValueError):  # of http.client, which quotes the header
            raise Unreadable(f"{self._label}: a header holds characters that HTTP does not allow.") from None

    def _sentence(self, error: urllib3.exceptions.HTTPError) -> str:
        match error:
            case urllib3.exceptions.NameResolutionError():
                return "the host's name cannot be resolved."
            case urllib3.exceptions.ReadTimeoutError() if isinstance(error.__cause__, TooSlow):
                return f"the answer took longer than {self._limits.response_timeout:g} s."
            case urllib3.exceptions.ReadTimeoutError():
                return f"no bytes came for {self._limits.read_timeout:g} s."
            case urllib3.exceptions.NewConnectionError():
                return "the server does not take connections."
            case urllib3.exceptions.ConnectTimeoutError():
                return f"connecting took longer than {self._limits.connect_timeout:g} s."
            case urllib3.exceptions.SSLError():
                return "TLS could not be agreed on."
            case bodies.CutShort():
                return "the compressed answer is cut short."
            case urllib3.exceptions.DecodeError():
                return "the answer cannot be decompressed."
        return "the connection broke off."


def _fault(answer: Response, message: str) -> Unreachable | Unauthorized | Unreadable:
    text = f"{answer.label} answered {answer.status}" + (f": {message}" if message else ".")
    if answer.status == 429:
        return RateLimited(text)
    if answer.status in (401, 403):
        return Unauthorized(text)
    if answer.status >= 500 or answer.status in RETRIED:
        return Unreachable(text)
    return RequestRefused(text)
