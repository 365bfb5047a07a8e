"""How often a request is sent, and how long to wait in between."""

import random
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

from headrace.connectors import Unreachable

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may pass."""
_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 30.0  # seconds
_random = random.SystemRandom()


class RateLimited(Unreachable):
    """The server still asks for fewer requests after every retry, or for a longer wait than is allowed."""

    code = "connector.rate_limited"
    title = "Too many requests"
    hint = "Lower limits.requests_per_second, or run at another time."


class TryLimits(Protocol):
    """What of the limits counts here."""

    @property
    def attempts(self) -> int:
        """Requests at most."""

    @property
    def retry_timeout(self) -> float:
        """Seconds after which none is sent again."""

    @property
    def longest_wait(self) -> float:
        """Longest Retry-After to obey."""


class Tries:
    """Counts the attempts of one request."""

    def __init__(self, limits: TryLimits) -> None:
        self._limits = limits
        self._left = limits.attempts
        self._began = time.monotonic()
        self._backoff = _FIRST_WAIT

    @property
    def is_last(self) -> bool:
        """Whether no other attempt may follow the present one."""
        return self._left <= 1

    def pause(self, asked: float | None = None) -> float | None:
        """Return the seconds to wait before the next attempt, which are those that the server asked for.

        None: there is none, because there were enough, or the wait would be too long.
        """
        self._left -= 1
        seconds = self._backoff * _random.uniform(0.5, 1) if asked is None else asked
        self._backoff = min(_LONGEST_BACKOFF, self._backoff * 2)
        over = time.monotonic() - self._began + seconds
        is_too_long = asked is not None and asked > self._limits.longest_wait
        if self._left < 1 or is_too_long or over > self._limits.retry_timeout:
            return None
        return seconds


def seconds_asked(retry_after: str) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3), or None."""
    value = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
