"""Requests to secret managers over HTTP. Only the installation's owner sets their addresses."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

from headrace.connectors.kit.network.connections import Bounds, is_untrusted, pool_manager
from headrace.pipeline.references.resolver import ReferenceUnreachable, ReferenceUnresolved

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.3
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_LARGEST = 1024 * 1024  # bytes of an answer


def ask(
    reference: str,
    url: str,
    *,
    headers: Mapping[str, str],
    seconds: float,
    form: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object at an address, after a GET, or after a POST of a form.

    Asks three times at most, and waits for each answer so many seconds. A `Retry-After` does not count: a run
    waits for its secrets for seconds, not for an hour.
    Raises ReferenceUnresolved; neither the answer's text nor the request's headers are in its message.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _asked(reference, url, headers, form, seconds)
        except ReferenceUnreachable:
            if attempt == _ATTEMPTS:
                raise
        time.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError("the last attempt returns or raises")


def _asked(
    reference: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None, seconds: float
) -> dict[str, Any]:
    try:
        # The owner of the installation has set the address: it may be a private one.
        with pool_manager(Bounds(connect=seconds, answer=seconds, is_checked=False)) as pool:
            answer = pool.request(
                "GET" if form is None else "POST",
                url,
                headers={**headers, **({} if form is None else _FORM)},
                body=None if form is None else urlencode(form),
                timeout=urllib3.Timeout(connect=seconds, read=seconds),
                retries=False,
                preload_content=False,
                redirect=False,  # the headers hold the credential
            )
            content = answer.read(_LARGEST)
            answer.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if is_untrusted(error):
            raise ReferenceUnresolved(reference, "the certificate of its keeper is not trusted.") from None
        raise ReferenceUnreachable(reference, f"no answer ({type(error).__name__}).") from None
    if answer.status >= 500 or answer.status == 429:
        raise ReferenceUnreachable(reference, f"the answer's status is {answer.status}.")
    if answer.status != 200:
        raise ReferenceUnresolved(reference, f"the answer's status is {answer.status}.")
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ReferenceUnresolved(reference, "the answer is no JSON object.")
    return body
