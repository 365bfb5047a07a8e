"""What a request brings: its body, its query parameters, and what handlers are called with."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from headrace.errors import FieldError, Invalid
from headrace.records import Principal
from headrace_api.backend import Backend
from headrace_api.http import strict_json
from headrace_api.http.problems import HttpError

LARGEST_BODY = 1024 * 1024
_CODES = {"missing": "field.missing", "extra_forbidden": "field.unknown"}


class PayloadTooLarge(HttpError):
    """The body is larger than the API takes, whatever its Content-Length says."""

    code = "request.too_large"
    title = "Request too large"
    status = 413

    @property
    def headers(self) -> dict[str, str]:
        """The rest of the body is not read."""
        return {"Connection": "close"}


class UnsupportedMediaType(HttpError):
    """The body is not `application/json`."""

    code = "request.media_type"
    title = "Unsupported media type"
    hint = "Send JSON with `Content-Type: application/json`, not compressed."
    status = 415


class InvalidRequest(Invalid):
    """The body or the query parameters are well-formed and wrong; `errors` points to each fault."""

    code = "request.invalid"
    title = "Invalid request"
    hint = "Correct what `errors` points to."


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request that anybody may send."""

    backend: Backend
    request: Request


@dataclass(frozen=True, kw_only=True)
class Call(Visit):
    """A request of a known principal."""

    principal: Principal


async def read_body(request: Request) -> bytes:
    """Return the body. Raises PayloadTooLarge as soon as it is one, and UnsupportedMediaType."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > LARGEST_BODY):
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:  # sent in chunks, or more than was declared
            raise _too_large()
    if body:
        _require_json(request)
    return bytes(body)


def parse_body(adapter: TypeAdapter[Any], raw: bytes) -> Any:
    """Return the body as its model. Raises MalformedJson and InvalidRequest."""
    faults = strict_json.control_characters(strict_json.parse(raw))
    if faults:
        raise _invalid(faults)
    try:
        return adapter.validate_json(raw, strict=True)
    except ValidationError as error:
        faults = _faults(error)
    # Outside the except clause: pydantic's error holds the body.
    raise _invalid(faults)


def parse_query(adapter: TypeAdapter[Any], request: Request) -> Any:
    """Return the query parameters as their model.

    Raises InvalidRequest, also for unknown and for repeated ones.
    """
    values = request.query_params
    repeated = sorted({key for key in values if len(values.getlist(key)) > 1})
    faults = [
        FieldError(pointer=strict_json.pointer((key,)), code="query.repeated", detail="Give it once.")
        for key in repeated
    ] + strict_json.control_characters(dict(values))
    if faults:
        raise _invalid(faults)
    try:
        return adapter.validate_strings(dict(values))
    except ValidationError as error:
        raise _invalid(_faults(error)) from None


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"')
    if media_type.strip() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedMediaType("The body is not `application/json` in UTF-8.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body is encoded.")


def _faults(error: ValidationError) -> list[FieldError]:
    return [
        FieldError(
            pointer=strict_json.pointer(fault["loc"]),
            code=_CODES.get(fault["type"], f"field.{fault['type']}"),
            detail="There is no such field." if fault["type"] == "extra_forbidden" else fault["msg"],
        )
        for fault in error.errors(include_input=False, include_url=False, include_context=False)
    ]


def _invalid(faults: list[FieldError]) -> InvalidRequest:
    first = f"{faults[0].pointer or 'The body'}: {faults[0].detail}"
    return InvalidRequest(first if len(faults) == 1 else f"{len(faults)} faults. {first}", errors=faults)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have {LARGEST_BODY} bytes at most.")
