"""`Idempotency-Key`: a POST that is repeated within a day gets the answer to the first."""

import contextlib
import re
from collections.abc import Callable

from starlette.responses import Response

from headrace.errors import FieldError, HeadraceError, Invalid
from headrace.failpoints import reach
from headrace.service.idempotency import Answer, Idempotency

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("content-type", "location", "etag", "cache-control")


class InvalidKey(Invalid):
    """The Idempotency-Key is empty, too long, or holds characters other than visible ASCII."""

    code = "idempotency.invalid_key"
    title = "Invalid Idempotency-Key"
    hint = "Send 1 to 255 visible ASCII characters, such as a UUID."


def answer_once(
    idempotency: Idempotency, keys: list[str], route: str, body: bytes, respond: Callable[[], Response]
) -> Response:
    """Return what `respond` returns, or what it returned for the same request before.

    `keys` are the request's Idempotency-Key headers. What `respond` changes is committed together with its
    answer. A request that fails has changed nothing and releases its key. Raises InvalidKey, KeyReused,
    KeyInProgress, and whatever `respond` raises.
    """
    if not keys:
        return respond()
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        fault = FieldError(pointer="", code=InvalidKey.code, detail=InvalidKey.hint)
        raise InvalidKey("The Idempotency-Key is not valid.", errors=[fault])
    begun = idempotency.begin(keys[0], route=route, body=body)
    if isinstance(begun, Answer):
        return Response(begun.body, begun.status, begun.headers | {"Idempotency-Replayed": "true"})
    try:
        reach("keyed", keys[0])
        with idempotency.change():
            response = respond()
            idempotency.finish(begun, _kept(response))
    except BaseException:
        # If the key cannot be released now, it expires after a minute.
        with contextlib.suppress(HeadraceError):
            idempotency.abandon(begun)
        raise
    reach("answered", keys[0])
    return response


def _kept(response: Response) -> Answer:
    headers = {name: value for name, value in response.headers.items() if name in _KEPT_HEADERS}
    return Answer(status=response.status_code, headers=headers, body=bytes(response.body).decode())
