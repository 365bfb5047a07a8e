"""Requests to secret managers over HTTP. Only the installation's owner sets their addresses."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

from headrace.pipeline.references.resolver import ReferenceUnreachable, ReferenceUnresolved

_TIMEOUT = urllib3.Timeout(connect=5, read=15)
_RETRIES = urllib3.Retry(
    total=2,
    allowed_methods=None,
    backoff_factor=0.3,
    status_forcelist=(429, 500, 502, 503, 504),
    raise_on_status=False,
    respect_retry_after_header=False,  # a run waits for its secrets for seconds, not for an hour
)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_LARGEST = 1024 * 1024  # bytes of an answer


def ask(
    reference: str, url: str, *, headers: Mapping[str, str], form: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON object at an address, after a GET, or after a POST of a form.

    Raises ReferenceUnresolved; neither the answer's text nor the request's headers are in its message.
    """
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES) as pool:
            answer = pool.request(
                "GET" if form is None else "POST",
                url,
                headers={**headers, **({} if form is None else _FORM)},
                body=None if form is None else urlencode(form),
                preload_content=False,
                redirect=False,  # the headers hold the credential
            )
            content = answer.read(_LARGEST)
            answer.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
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
