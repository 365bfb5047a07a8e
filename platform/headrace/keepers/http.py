"""Requests to keepers of secrets over HTTP. Only the installation's owner sets their addresses."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

from headrace.connectors.kit.network.connections import Bounds, is_untrusted, pool_manager
from headrace.keepers.faults import KeeperRefused, KeeperUnreachable

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.3
_LARGEST = 1024 * 1024  # bytes of an answer


def ask(
    url: str,
    *,
    headers: Mapping[str, str],
    seconds: float,
    form: Mapping[str, str] | None = None,
    document: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object at an address: after a GET, or after a POST of a form or a JSON document.

    Asks three times at most, and waits for each answer so many seconds. A `Retry-After` does not count: a run
    waits for its secrets for seconds, not for an hour.
    Raises KeeperRefused; neither the answer's text nor the request's headers are in its message.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _asked(url, headers, _body(form, document), seconds)
        except KeeperUnreachable:
            if attempt == _ATTEMPTS:
                raise
        time.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError("the last attempt returns or raises")


def _body(form: Mapping[str, str] | None, document: Mapping[str, str] | None) -> tuple[str, str] | None:
    """Return a body and its type; None for a GET."""
    if form is not None:
        return urlencode(form), "application/x-www-form-urlencoded"
    return None if document is None else (json.dumps(document), "application/json")


def _asked(
    url: str, headers: Mapping[str, str], body: tuple[str, str] | None, seconds: float
) -> dict[str, Any]:
    text, kind = body or (None, None)
    try:
        # The owner of the installation has set the address: it may be a private one.
        with pool_manager(Bounds(connect=seconds, answer=seconds, is_checked=False)) as pool:
            answer = pool.request(
                "GET" if text is None else "POST",
                url,
                headers={**headers, **({"Content-Type": kind} if kind else {})},
                body=text,
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
                retries=False,
                preload_content=False,
                redirect=False,  # the headers hold the credential
            )
            content = answer.read(_LARGEST)
            answer.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if is_untrusted(error):
            raise KeeperRefused("the certificate of its keeper is not trusted.") from None
        raise KeeperUnreachable(f"no answer ({type(error).__name__}).") from None
    if answer.status >= 500 or answer.status == 429:
        raise KeeperUnreachable(f"the answer's status is {answer.status}.")
    if answer.status != 200:
        raise KeeperRefused(f"the answer's status is {answer.status}.")
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise KeeperRefused("the answer is no JSON object.")
    return found
