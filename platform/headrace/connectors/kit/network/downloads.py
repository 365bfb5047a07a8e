"""Files that lie at a URL, fetched in bounded memory and bounded time."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import IO

import urllib3

from headrace.connectors import Unauthorized, Unreachable, Unreadable, Untrusted
from headrace.connectors.kit.network.bodies import pieces
from headrace.connectors.kit.network.connections import Bounds, is_untrusted, pool_manager
from headrace.connectors.kit.network.limits import TransferLimits
from headrace.connectors.kit.network.tries import RETRIED, RateLimited, Tries, seconds_asked

_CHUNK = 1024 * 1024
_CHECK_SECONDS = 1.0


class Changed(Exception):
    """What lies at a URL was changed since it was asked about. It never reaches a user."""


class Download:
    """Asks for one URL. No text of an error holds it: its query may be secret.

    `check` is called while a server is waited for, and ends the wait by what it raises.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        limits: TransferLimits | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._url, self._headers = url, dict(headers)
        self._limits = limits or TransferLimits()
        self._check = check

    def into(self, target: IO[bytes], unless_changed: datetime | None = None) -> Iterator[int]:
        """Copy what lies there into a file; yield the bytes so far, for each MiB.

        Asks again for what may pass (429, 5xx, broken connections). Raises ConnectorError, and Changed where
        the server says that it was changed.
        """
        sent = self._headers
        if unless_changed is not None:
            sent = sent | {
                "If-Unmodified-Since": format_datetime(unless_changed.astimezone(UTC), usegmt=True)
            }
        with self._answer("GET", sent) as answer:
            if answer.status == 412 and unless_changed is not None:
                raise Changed
            _check_status(answer.status)
            size = 0
            for chunk in pieces(answer, _CHUNK):
                target.write(chunk)
                size += len(chunk)
                yield size

    def last_modified(self) -> datetime | None:
        """Ask when it was changed; None where the server does not say. Raises ConnectorError."""
        with self._answer("HEAD", self._headers) as answer:
            _check_status(answer.status)
            try:
                moment = parsedate_to_datetime(answer.headers.get("Last-Modified", ""))
            except ValueError:
                return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @contextlib.contextmanager
    def _answer(self, method: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        bounds = Bounds(connect=self._limits.connect_timeout)
        with (
            pool_manager(bounds) as pools,
            _http_errors(),
            contextlib.closing(self._last_answer(pools, method, headers)) as answer,
        ):
            yield answer

    def _last_answer(
        self, pools: urllib3.PoolManager, method: str, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        tries = Tries(self._limits)
        while True:
            try:
                answer = self._sent(pools, method, headers)
            except urllib3.exceptions.HTTPError as error:
                is_over = isinstance(_reason(error), urllib3.exceptions.ResponseError) or is_untrusted(error)
                pause = None if is_over else tries.pause()
                if pause is None:
                    raise
            else:
                asked = seconds_asked(answer.headers.get("Retry-After", ""))
                pause = tries.pause(asked) if answer.status in RETRIED else None
                if pause is None:
                    return answer
                answer.close()
            self._wait(pause)

    def _sent(
        self, pools: urllib3.PoolManager, method: str, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        # Every header may be a credential, so none follows a redirect to another host.
        redirects = urllib3.Retry(
            total=None,
            connect=0,
            read=0,
            status=0,
            other=0,
            redirect=5,
            remove_headers_on_redirect=list(headers),
        )
        timeout = urllib3.Timeout(connect=self._limits.connect_timeout, read=self._limits.read_timeout)
        return pools.request(
            method,
            self._url,
            headers=dict(headers),
            retries=redirects,
            timeout=timeout,
            preload_content=False,
        )

    def _wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _CHECK_SECONDS))


def _reason(error: urllib3.exceptions.HTTPError) -> object:
    return error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error


def _check_status(status: int) -> None:
    if status in (401, 403):
        raise Unauthorized(f"The server answered {status}.")
    if status == 429:
        raise RateLimited("The server answered 429.")
    if status in RETRIED or status >= 500:
        raise Unreachable(f"The server answered {status}.")
    if status != 200:
        raise Unreadable(f"The server answered {status}.")


@contextlib.contextmanager
def _http_errors() -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.LocationParseError:
        raise Unreadable("The URL cannot be understood.") from None
    except urllib3.exceptions.HTTPError as error:
        reason = _reason(error)
        if is_untrusted(error):
            raise Untrusted("The server's certificate is not trusted.") from None
        if isinstance(reason, urllib3.exceptions.ResponseError):
            raise Unreadable("The server redirects too often.") from None
        if isinstance(error, urllib3.exceptions.MaxRetryError):
            raise Unreachable(f"The server cannot be reached: {type(reason).__name__}.") from None
        raise Unreachable(f"The transfer broke off: {type(error).__name__}.") from None
